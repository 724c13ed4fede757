// The review grid: crops of boxes; a click marks a wrong one, and one button answers for all of them.
const grid = element.querySelector(".grid"), done = element.querySelector(".done");
let crops = [], last = 0; // the crop that was clicked last

// A click turns one mark; with Shift, all from the crop that was clicked last get its mark.
function mark(index, range) {
  if (!range) crops[index].wrong = !crops[index].wrong;
  else for (let n = Math.min(last, index); n <= Math.max(last, index); n++) crops[n].wrong = crops[last].wrong;
  last = index;
  draw();
}

function draw() {
  grid.replaceChildren(...crops.map((crop, index) => {
    const button = document.createElement("button");
    button.className = crop.wrong ? "crop wrong" : "crop";
    button.setAttribute("aria-pressed", Boolean(crop.wrong));
    const image = button.appendChild(document.createElement("img"));
    image.src = crop.image.url;
    image.alt = "";
    const score = crop.score === null ? "" : ` ${crop.score.toFixed(2)}`;
    button.append(`${crop.wrong ? "✗ " : ""}${crop.category || "?"}${score}`);
    button.onclick = (event) => mark(index, event.shiftKey);
    return button;
  }));
  const wrong = crops.filter((crop) => crop.wrong).length;
  done.textContent = `Reject ${wrong}, accept ${crops.length - wrong}`;
  element.querySelector(".studio").classList.toggle("none", !crops.length);
}

function receive() {
  if (props.value && props.value.answers !== undefined) return; // sent from here
  last = 0;
  crops = JSON.parse(JSON.stringify(props.value?.crops ?? []));
  draw();
}

done.onclick = () => {
  props.value = { answers: crops.map(({ key, corners, category, score, wrong }) => ({ key, corners, category, score, wrong: Boolean(wrong) })) };
  trigger("answer");
};
watch("value", receive);
receive();
