"use strict";
// Sorting, the class filter, names of dots, a class's own view and single boxes; the page can be read without.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const SVG = "http://www.w3.org/2000/svg";

  function element(name, text, attributes = {}, children = []) {
    const made = document.createElement(name);
    if (text !== null) made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }
  function drawn(name, attributes) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  }
  const show = (value, digits = 1) => (value === null ? "–" : value.toFixed(digits));

  // Tables. What is missing goes last, whichever way.
  function key(row, column) {
    const text = row.children[column].dataset.v;
    if (text === undefined) return null;
    const figure = Number(text);
    return text !== "" && !Number.isNaN(figure) ? figure : text;
  }
  function compare(a, b) {
    if (typeof a === typeof b) return a < b ? -1 : a > b ? 1 : 0;
    return typeof a === "number" ? -1 : 1;
  }
  function sort(table, column) {
    const head = table.tHead.rows[0].cells;
    const now = head[column].getAttribute("aria-sort");
    const figures = head[column].classList.contains("n");
    const way = now === null ? (figures ? "descending" : "ascending") : now === "ascending" ? "descending" : "ascending";
    for (const cell of head) cell.removeAttribute("aria-sort");
    head[column].setAttribute("aria-sort", way);
    const rows = [...table.tBodies[0].rows].map((row) => [key(row, column), row]);
    const there = rows.filter(([value]) => value !== null);
    there.sort((a, b) => compare(a[0], b[0]) * (way === "ascending" ? 1 : -1));
    const missing = rows.filter(([value]) => value === null);
    table.tBodies[0].append(...[...there, ...missing].map(([, row]) => row));
  }
  for (const table of all("table.sorts")) {
    all("button.sort", table).forEach((button, column) => button.addEventListener("click", () => sort(table, column)));
  }

  // Dots of the charts of AP by training images.
  const [LEFT, RIGHT, TOP, BOTTOM, WIDTH, HEIGHT] = data.frame;
  const across = (count, most) => LEFT + (Math.log10(count) / Math.log10(most)) * (RIGHT - LEFT);
  const down = (ap) => BOTTOM - (ap / 100) * (BOTTOM - TOP);
  const tip = document.getElementById("tip");
  const scatters = all("figure[data-run]").map((figure) => {
    const run = data.runs[Number(figure.dataset.run)];
    const places = data.names.map((_, c) => c).filter((c) => data.train[c] > 0 && run.classes[c][0] !== null);
    const dots = places.map((c) => [c, across(data.train[c], Number(figure.dataset.most)), down(run.classes[c][0])]);
    const svg = figure.querySelector("svg");
    const marks = drawn("path", { class: "dots marked", d: "" });
    svg.append(marks);
    svg.addEventListener("pointermove", (event) => {
      const frame = svg.getBoundingClientRect();
      const x = ((event.clientX - frame.left) / frame.width) * WIDTH, y = ((event.clientY - frame.top) / frame.height) * HEIGHT;
      let best = null, least = 144;
      for (const dot of dots) {
        const far = (dot[1] - x) ** 2 + (dot[2] - y) ** 2;
        if (far < least && visible[dot[0]]) [best, least] = [dot, far];
      }
      tip.hidden = best === null;
      if (best === null) return;
      const c = best[0];
      tip.textContent = `${data.names[c]}: AP ${show(run.classes[c][0])}, ${data.train[c]} training images, ${data.objects[c]} objects`;
      tip.style.left = `${Math.min(event.clientX + 12, window.innerWidth - 180)}px`;
      tip.style.top = `${event.clientY + 14}px`;
    });
    svg.addEventListener("pointerleave", () => { tip.hidden = true; });
    return { dots, marks, own: svg.querySelector(".dots") };
  });

  // The filter of classes.
  let visible = data.names.map(() => true);
  const form = document.getElementById("filters"), text = document.getElementById("filter");
  const folded = data.names.map((name) => name.toLowerCase());
  function apply() {
    const wanted = text.value.trim().toLowerCase();
    const boxes = all("input[name=group]", form);
    const groups = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    visible = folded.map((name, c) => name.includes(wanted) && (!boxes.length || groups.has(data.codes[c])));
    const count = visible.filter(Boolean).length;
    const some = count < visible.length;
    document.getElementById("matching").textContent = `${count} of ${visible.length} classes`;
    for (const node of all("[data-c]")) {
      const places = node.dataset.c.split(" ").filter(Boolean);
      node.hidden = some && !places.some((place) => visible[Number(place)]);
    }
    for (const list of all("#pictures .pictures")) {
      const none = all(".picture", list).every((figure) => figure.hidden);
      list.hidden = none;
      list.previousElementSibling.hidden = none;
    }
    for (const { dots, marks, own } of scatters) {
      own.classList.toggle("faded", some);
      marks.setAttribute("d", some ? dots.filter(([c]) => visible[c]).map(([, x, y]) => `M${x} ${y}h0`).join("") : "");
    }
  }
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", apply);
  apply();

  // Single boxes of pictures.
  for (const box of all("input[data-box]")) {
    box.addEventListener("change", () => {
      for (const shape of all(`[data-of="${box.dataset.box}"]`)) {
        if (box.checked) shape.removeAttribute("visibility");
        else shape.setAttribute("visibility", "hidden");
      }
    });
  }

  // A class's own view.
  const RECALLS = 101;
  function curve(run, c) {
    if (run.curves === null) return null;
    if (typeof run.curves === "string") run.curves = atob(run.curves);
    let path = "";
    for (let r = 0; r < RECALLS; r += 1) {
      const precision = run.curves.charCodeAt(c * RECALLS + r) / 255;
      path += `${r ? "L" : "M"}${(LEFT + (r / 100) * (RIGHT - LEFT)).toFixed(1)} ${(BOTTOM - precision * (BOTTOM - TOP)).toFixed(1)}`;
    }
    return path;
  }
  const others = (pairs) => pairs.map(([c, n]) => `${data.names[c]} (${n})`).join(", ") || "–";
  function details(c) {
    const head = ["run", "AP", "AP50", "found", "wrong class", "badly placed", "missed", "detections", "best F1", "from score"];
    const rows = data.runs.map((run) => {
      const [ap, ap50, detections, best, [total, found, wrong, placed, missed]] = run.classes[c];
      const f1 = best === null ? [null, null] : [100 * best[1], best[0]];
      const cells = [show(ap), show(ap50), `${found} of ${total}`, wrong, placed, missed, detections, show(f1[0]), show(f1[1], 3)];
      return element("tr", null, {}, [element("th", run.name, { scope: "row" }), ...cells.map((x) => element("td", x, { class: "n" }))]);
    });
    const heads = head.map((name, n) => element("th", name, { scope: "col", class: n ? "sort n" : "sort" }));
    const table = element("table", null, {}, [
      element("thead", null, {}, [element("tr", null, {}, heads)]), element("tbody", null, {}, rows)]);
    const parts = [element("div", null, { class: "frame", tabindex: "0", role: "region", "aria-label": "Figures of the class" }, [table])];
    for (const run of data.runs) {
      const name = data.runs.length > 1 ? `${run.name}: ` : "";
      parts.push(element("p", `${name}objects not found were taken for ${others(run.classes[c][5])}; ` +
        `its detections of a wrong class lie on ${others(run.classes[c][6])}.`, { class: "note" }));
    }
    return parts;
  }
  function chart(c) {
    const frame = document.querySelector("#precision .chart");
    if (frame === null || data.objects[c] === 0) return [];
    const copy = frame.cloneNode(true);
    copy.querySelector("figcaption").firstChild.data = "Precision and recall at an IoU of 0.5";
    for (const line of all(".line", copy)) line.remove();
    data.runs.forEach((run, n) => {
      const path = curve(run, c);
      if (path !== null) copy.querySelector("svg").append(drawn("path", { class: `line s${n}`, d: path }));
    });
    const legend = document.querySelector("#precision .legend");
    return [...(legend ? [legend.cloneNode(true)] : []), element("div", null, { class: "charts" }, [copy])];
  }
  const dialog = document.getElementById("detail");
  function open(c) {
    const close = element("button", "Close", { type: "button", class: "plain close", autofocus: "" });
    close.addEventListener("click", () => dialog.close());
    const training = data.train[c] === null ? "" : `${data.train[c]} training images; `;
    dialog.replaceChildren(
      close,
      element("h2", data.names[c], { id: "detail-title" }),
      element("p", `${data.groups[c]}, category ${data.ids[c]}; ${training}${data.objects[c]} objects in ${data.images[c]} images`, { class: "note" }),
      ...chart(c),
      ...details(c),
    );
    if (all(".picture").some((figure) => figure.dataset.c.split(" ").includes(String(c)))) {
      const link = element("button", "Its pictures", { type: "button", class: "plain" });
      link.addEventListener("click", () => {
        dialog.close();
        text.value = data.names[c];
        apply();
        document.getElementById("pictures").scrollIntoView();
      });
      dialog.append(link);
    }
    dialog.showModal();
  }
  for (const button of all("button.class")) button.addEventListener("click", () => open(Number(button.dataset.class)));
})();
