"use strict";
(() => {
  const data = JSON.parse(document.getElementById("cells").textContent);
  const plot = document.querySelector(".plot"), svg = document.getElementById("map");
  if (!svg) return;
  const box = document.querySelector(".map"), tip = document.querySelector(".tip"), cursor = document.querySelector(".cursor");
  plot.scrollLeft = plot.scrollWidth;
  const line = (text, bold) => { const e = document.createElement(bold ? "b" : "div"); e.textContent = text; tip.append(e); };
  const number = n => n.toLocaleString("en-US");
  const hide = () => { tip.classList.remove("on"); cursor.classList.remove("on"); };
  const show = event => {
    const at = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / at.width;
    const x = (event.clientX - at.left) * scale, y = (event.clientY - at.top) * scale;
    const column = Math.floor(x / data.cell), row = data.rows.findIndex(r => y >= r[1] && y < r[1] + data.height);
    if (row < 0 || column < 0 || column >= data.days) return hide();
    const day = new Date(Date.parse(data.start + "T00:00:00Z") + column * 864e5).toISOString().slice(0, 10);
    tip.textContent = "";
    line(`${data.rows[row][0]}, ${day}`, true);
    const cell = data.cells[`${row},${column}`];
    if (!cell && !data.seen[row].some(s => column >= s[0] && column < s[0] + s[1])) line("not asked for");
    else if (!cell) line("complete, score 100");
    else {
      const [expected, present, missing, rejected, revised, offGrid, score, settled, verdicts] = cell;
      line(`${number(present)} of ${number(expected)} bars, score ${score}`);
      for (const [name, n] of verdicts) line(`${number(n)} missing: ${data.words[name]}`);
      if (missing && !verdicts.length) line(`${number(missing)} missing`);
      if (rejected) line(`${number(rejected)} rejected`);
      if (revised) line(`${number(revised)} revised`);
      if (offGrid) line(`${number(offGrid)} off the grid`);
      if (!settled) line("the day is not finished");
    }
    cursor.setAttribute("x", column * data.cell); cursor.setAttribute("y", data.rows[row][1]); cursor.classList.add("on");
    tip.classList.add("on");
    const frame = box.getBoundingClientRect(), half = tip.offsetWidth / 2;
    const left = Math.min(Math.max(event.clientX - frame.left - half, 4), frame.width - tip.offsetWidth - 4);
    const above = event.clientY - frame.top - tip.offsetHeight - 16;
    tip.style.left = `${left}px`;
    tip.style.top = `${above < 4 ? event.clientY - frame.top + 20 : above}px`;
  };
  svg.addEventListener("pointermove", show);
  svg.addEventListener("pointerdown", show);
  svg.addEventListener("pointerleave", hide);
})();
