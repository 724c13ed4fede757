"""How the page looks: one style sheet, on a phone and in the dark too."""

CSS = """
:root {
  color-scheme: light dark;
  --page: #ffffff; --card: #f5f6f8; --ink: #22242a; --faint: #6a6e78; --rule: #d9dbe1;
  --good: #00704f; --bad: #b3304c;
  --series-1: #0072b2; --series-2: #d55e00; --series-3: #00875f; --series-4: #a8479a;
  --series-5: #8a6d00; --series-6: #4b5bd1; --series-7: #b3304c;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #15171c; --card: #1f2229; --ink: #e6e7ea; --faint: #a3a8b4; --rule: #3a3e48;
    --good: #4fd1a5; --bad: #ff8a9f;
    --series-1: #56b4e9; --series-2: #ff9a4d; --series-3: #35c99a; --series-4: #e29ad6;
    --series-5: #d9b84a; --series-6: #9aa7ff; --series-7: #ff8095;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 62rem;
  background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 3rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
p { margin: .5rem 0; max-width: 46rem; }
.under { color: var(--faint); margin: .2rem 0 1.4rem; overflow-wrap: anywhere; }
.panels > figure > figcaption:first-child { color: var(--ink); font-weight: 600; }
.note, figcaption { color: var(--faint); font-size: .875rem; overflow-wrap: anywhere; }
.tiles { display: grid; gap: .75rem; margin-bottom: 1.2rem; }
.tiles { grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); }
.tile { background: var(--card); border-radius: .6rem; padding: .8rem 1rem; }
.tile b { display: block; font-size: 1.6rem; line-height: 1.2; white-space: nowrap; }
.tile b small { font-size: .95rem; font-weight: 500; color: var(--faint); }
.tile span { display: block; color: var(--faint); font-size: .875rem; line-height: 1.35; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .5rem; text-align: right; border-top: 1px solid var(--rule); }
thead th { border: 0; color: var(--faint); font-size: .875rem; font-weight: 500; }
th:first-child { text-align: left; font-weight: 500; padding-left: 0; }
tbody th { position: sticky; left: 0; background: var(--page); }
td { white-space: nowrap; }
td small { color: var(--faint); }
tr.difference > * { border: 0; padding-top: 0; font-size: .875rem; color: var(--faint); }
tr.difference th:first-child { padding-left: .8rem; font-weight: 400; }
.verdict { display: block; line-height: 1.1; } .verdict i { font-style: normal; }
.better { color: var(--good); } .worse { color: var(--bad); }
.panels { display: grid; gap: 1rem; }
.panels { grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr)); }
.small { grid-template-columns: repeat(auto-fill, minmax(min(45%, 11rem), 1fr)); }
.small figcaption { white-space: pre-line; line-height: 1.3; }
.pictures { grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
figure { margin: 0; max-width: 34rem; }
figure > svg { display: block; width: 100%; height: auto; }
svg text { font-family: inherit !important; }
img { display: block; width: 100%; height: auto; border-radius: .4rem; }
.confusion { width: auto; font-size: .75rem; border-collapse: separate; border-spacing: 1px; }
.confusion th, .confusion td { padding: 0 .1rem; border: 0; }
.confusion thead th { font-size: .75rem; vertical-align: bottom; }
.confusion thead th:first-child { text-align: right; padding-right: .5rem; white-space: nowrap; }
.confusion thead span { writing-mode: vertical-rl; transform: rotate(180deg); padding: .3rem 0; }
.confusion tbody th { text-align: right; font-weight: 400; white-space: nowrap; padding-right: .5rem; }
.confusion td { min-width: 1.45rem; height: 1.45rem; text-align: center; background: var(--card); }
.confusion .right { background: color-mix(in srgb, var(--series-1) var(--share), var(--card)); }
.confusion .mistake { background: color-mix(in srgb, var(--series-2) var(--share), var(--card)); }
.confusion .right { font-weight: 600; } .confusion .all { color: var(--faint); }
.gallery { display: grid; gap: .2rem 1.6rem; }
.gallery { grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); }
.gallery p { margin: .3rem 0 .2rem; }
.crops { display: grid; gap: .4rem; grid-template-columns: repeat(5, minmax(0, 5.4rem)); }
.crops figcaption { font-size: .75rem; line-height: 1.25; }
.crops .right figcaption { color: var(--good); } .crops .wrong figcaption { color: var(--bad); }
pre { background: var(--card); border-radius: .6rem; padding: .8rem 1rem; overflow-x: auto; }
pre, code { font: .85rem/1.45 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
summary { cursor: pointer; margin: .8rem 0; }
.facts { width: auto; } .facts td { text-align: left; white-space: normal; }
.facts td { overflow-wrap: anywhere; } .facts th, .facts td { vertical-align: top; }
.facts th { padding-right: 1rem; }
@media (max-width: 40rem) {
  th, td { padding: .3rem .25rem; font-size: .9rem; }
  td small { display: block; line-height: 1.1; }
  thead th { font-size: .8rem; } .verdict i { display: none; }
  tr.difference > * { font-size: .75rem; }
}
@media print { details { display: block; } figure, .tile { break-inside: avoid; } }
"""
