"use strict";
// Sorting, filtering, the place in the contents, and opening what is linked or printed.
// Everything else on the page works without this.

const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// -- sorting ---------------------------------------------------------------------------------

const words = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

function text(cell) {
  if (!cell) return "";
  const copy = cell.cloneNode(true);
  all(".hint, .sign, .unseen", copy).forEach((part) => part.remove());
  return copy.textContent.trim();
}

function key(cell, number) {
  const raw = cell && cell.dataset.key !== undefined ? cell.dataset.key : text(cell);
  if (raw === "") return null;
  const value = Number(number ? raw.replace("−", "-").replaceAll(",", "") : raw);
  return Number.isNaN(value) ? raw : value;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b || 0;
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return words.compare(a, b);
}

function sort(table, heading, place) {
  const next = { none: "ascending", ascending: "descending", descending: "none" };
  const order = next[heading.getAttribute("aria-sort") || "none"];
  all("thead th", table).forEach((other) => other.removeAttribute("aria-sort"));
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  if (order === "none") {
    rows.sort((a, b) => a.dataset.place - b.dataset.place);
  } else {
    heading.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const number = heading.classList.contains("number");
    const keys = new Map(rows.map((row) => [row, key(row.cells[place], number)]));
    rows.sort((a, b) => {
      const [x, y] = [keys.get(a), keys.get(b)];
      if (x === null || y === null) return (x === null) - (y === null);
      return sign * compare(x, y);
    });
  }
  body.append(...rows);
}

function sortable(table) {
  Array.from(table.tBodies[0].rows).forEach((row, place) => { row.dataset.place = place; });
  if (table.tBodies[0].rows.length < 2 || table.classList.contains("grid")) return;
  all("thead th", table).forEach((heading, place) => {
    const button = make("button", { type: "button" });
    button.append(...heading.childNodes);
    const arrow = make("span", { className: "arrow" });
    arrow.setAttribute("aria-hidden", "true");
    button.append(arrow);
    const described = heading.getAttribute("aria-describedby");
    if (described) button.setAttribute("aria-describedby", described);
    heading.append(button);
    button.addEventListener("click", () => sort(table, heading, place));
  });
}

// -- filtering -------------------------------------------------------------------------------

function filterable(table) {
  const place = Number(table.dataset.filter);
  const heading = table.tHead.rows[0].cells[place];
  const rows = Array.from(table.tBodies[0].rows);
  const found = rows.map((row) => text(row.cells[place]));
  const values = Array.from(new Set(found));
  if (!heading || values.length < 2) return;
  const name = heading.textContent.trim();
  const tools = table.closest(".table").querySelector(".tools");
  const count = table.caption.querySelector(".count");
  const few = values.length <= 40;
  const control = few ? make("select") : make("input", { type: "search" });
  if (few) {
    control.append(make("option", { value: "-1" }, "all"));
    values.forEach((value, i) => control.append(make("option", { value: String(i) }, value)));
  }
  const whole = count.textContent;
  const apply = () => {
    const chosen = few ? values[Number(control.value)] : control.value.trim().toLowerCase();
    rows.forEach((row, i) => {
      row.hidden = few
        ? chosen !== undefined && found[i] !== chosen
        : !found[i].toLowerCase().includes(chosen);
    });
    const shown = rows.filter((row) => !row.hidden).length;
    count.textContent = shown === rows.length ? whole : `${shown} of ${whole}`;
  };
  control.addEventListener(few ? "change" : "input", apply);
  tools.prepend(make("label", {}, few ? `Show ${name}` : `Find ${name}`, control));
  control.value = few ? "-1" : "";
}

// -- contents --------------------------------------------------------------------------------

function contents() {
  const nav = document.getElementById("contents");
  if (!nav) return;
  const folding = nav.querySelector("details");
  const wide = window.matchMedia("(min-width: 72rem)");
  const fold = () => { folding.open = wide.matches; };
  fold();
  wide.addEventListener("change", fold);
  const links = all("a", nav);
  links.forEach((link) => link.addEventListener("click", () => { if (!wide.matches) folding.open = false; }));
  const targets = links.map((link) => document.getElementById(link.hash.slice(1)));
  let current = null;
  const mark = () => {
    const line = window.innerHeight * 0.25;
    const passed = targets.filter((target) => target && target.getBoundingClientRect().top <= line);
    const end = window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 2;
    const target = end && window.scrollY > 0 ? targets.at(-1) : passed.at(-1) || targets[0];
    const link = links[targets.indexOf(target)];
    if (link === current) return;
    if (current) current.removeAttribute("aria-current");
    link.setAttribute("aria-current", "location");
    current = link;
    if (wide.matches && nav.scrollHeight > nav.clientHeight) {
      nav.scrollTop = link.offsetTop - nav.offsetTop - nav.clientHeight / 2;
    }
  };
  let waiting = false;
  const later = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; mark(); });
  };
  addEventListener("scroll", later, { passive: true });
  addEventListener("resize", later);
  mark();
}

// -- what is linked or printed is open; what does not scroll is no stop for the keyboard ---------

function reveal() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (!target) return;
  const folded = target.closest("details") || target.querySelector(":scope > details.folded");
  if (folded && !folded.closest("nav")) folded.open = true;
  target.scrollIntoView();
}

function stops() {
  all(".scroll, .plot").forEach((box) => {
    const scrolls = box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight;
    if (scrolls) box.setAttribute("tabindex", "0");
    else box.removeAttribute("tabindex");
    box.classList.toggle("more", box.scrollWidth > box.clientWidth);
  });
}

function printing() {
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = all("main details:not([open])");
    opened.forEach((details) => { details.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((details) => { details.open = false; }));
}

all("main table").forEach(sortable);
all("main table[data-filter]").forEach(filterable);
contents();
printing();
stops();
addEventListener("resize", stops);
document.addEventListener("toggle", stops, true);
addEventListener("hashchange", reveal);
if (location.hash) reveal();
