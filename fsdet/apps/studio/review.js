// The review grid: crops of boxes; a click marks a wrong one, and one button answers for all of them.
const grid = element.querySelector(".grid"), done = element.querySelector(".done");
let crops = [];

function draw() {
  grid.replaceChildren(...crops.map((crop) => {
    const button = document.createElement("button");
    button.className = crop.wrong ? "crop wrong" : "crop";
    button.setAttribute("aria-pressed", Boolean(crop.wrong));
    const image = button.appendChild(document.createElement("img"));
    image.src = crop.image.url;
    image.alt = "";
    const score = crop.score === null ? "" : ` ${crop.score.toFixed(2)}`;
    button.append(`${crop.wrong ? "✗ " : ""}${crop.category || "?"}${score}`);
    button.onclick = () => { crop.wrong = !crop.wrong; draw(); };
    return button;
  }));
  const wrong = crops.filter((crop) => crop.wrong).length;
  done.textContent = `Reject ${wrong}, accept ${crops.length - wrong}`;
  element.querySelector(".studio").classList.toggle("none", !crops.length);
}

function receive() {
  if (props.value && props.value.answers !== undefined) return; // sent from here
  crops = JSON.parse(JSON.stringify(props.value?.crops ?? []));
  draw();
}

done.onclick = () => {
  props.value = { answers: crops.map(({ key, corners, category, score, wrong }) => ({ key, corners, category, score, wrong: Boolean(wrong) })) };
  trigger("answer");
};
watch("value", receive);
receive();
