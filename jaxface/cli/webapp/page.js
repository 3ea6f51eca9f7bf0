"use strict";
// The page of `jaxface app`. The list of faces is asked for again and again; what changed is drawn.
const STAGES = {
  landmarks: "Find the face",
  observe: "Fit the head, read the skin and the light",
  infer: "Complete the texture",
  refine: "Refine the texture",
  export: "Write the files",
};
const OPTIONAL = new Set(["refine"]);
const STATES = { waiting: "waiting", working: "in work", done: "done", failed: "failed" };
const SECONDS_BUSY = 0.7, SECONDS_IDLE = 5;

const element = (id) => document.getElementById(id);
const pictures = new Map(); // of photos chosen in this tab, by the id of their face
let faces = [], chosen = null, drawn = "", told = "", timer = 0;

/** Returns a new element; text is set as text, never as HTML. */
const make = (tag, properties = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
};

const complain = (sentence) => {
  const line = make("p", {}, make("span", { textContent: sentence }));
  line.append(make("button", { type: "button", textContent: "×", ariaLabel: "Dismiss", onclick: () => line.remove() }));
  element("messages").append(line);
};

const ask = async (address, options = {}) => {
  let answer;
  try {
    answer = await fetch(address, options);
  } catch {
    throw new Error("jaxface app does not answer; if it has ended, start it again.");
  }
  if (answer.status === 204) return null;
  const data = await answer.json().catch(() => ({ error: `jaxface app answered ${answer.status}; its terminal says why.` }));
  if (!answer.ok) throw new Error(data.error);
  return data;
};

const address = (face, file) => `faces/${face.id}/files/${encodeURIComponent(file)}`;
const picture = (face) => pictures.get(face.id) ?? (face.state === "done" ? address(face, "preview.png") : null);

const add = async (files) => {
  element("messages").replaceChildren();
  for (const file of files) {
    try {
      const face = await ask(`faces?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file });
      pictures.set(face.id, URL.createObjectURL(file));
      chosen = face.id;
    } catch (error) {
      complain(error.message);
    }
    await refresh();
  }
};

const remove = async (face) => {
  await ask(`faces/${face.id}`, { method: "DELETE" }).catch((error) => complain(error.message));
  URL.revokeObjectURL(pictures.get(face.id));
  pictures.delete(face.id);
  if (chosen === face.id) chosen = null;
  await refresh();
  element("file").focus();
};

const steps = (face) => {
  const events = new Map(face.stages.map((event) => [event.stage, event]));
  return Object.entries(STAGES).filter(([stage]) => events.has(stage) || !OPTIONAL.has(stage)).map(([stage, title]) => {
    const event = events.get(stage);
    const state = !event ? "" : event.state === "end" ? "end" : "working";
    const line = make("li", { className: state }, make("span", { className: "mark", ariaHidden: "true" }), make("span", { textContent: title }));
    if (event?.note) line.children[1].append(make("small", { textContent: event.note }));
    if (state === "working" && event.done !== undefined) line.children[1].append(make("small", { textContent: `${Math.round(100 * event.done)} %` }));
    line.append(make("time", { textContent: event ? `${event.elapsed.toFixed(event.state === "end" ? 1 : 0)} s` : "" }));
    if (state === "working") line.setAttribute("aria-current", "step");
    return line;
  });
};

const head = (face, ...buttons) => make("div", { className: "head" }, make("h2", { textContent: face.name }), make("div", { className: "row" }, ...buttons));
const removal = (face, textContent) => make("button", { type: "button", className: "quiet", textContent, onclick: () => remove(face) });

const views = {
  waiting: (face) => [
    head(face, removal(face, "Cancel")),
    make("p", { className: "dim", textContent: "One photo is done at a time; this one waits for its turn." }),
  ],
  working: (face) => {
    const shown = picture(face);
    const first = !faces.some((each) => each.state === "done");
    const right = make("div", {}, make("ol", { className: "steps", id: "steps" }, ...steps(face)));
    if (first) right.append(make("p", { className: "dim", textContent: "The very first face takes a minute or two more: jaxface compiles its programs, and keeps them." }));
    const box = make("div", { className: shown ? "work" : "work plain" });
    if (shown) box.append(make("img", { src: shown, alt: `The photo ${face.name}` }));
    box.append(right);
    return [head(face, removal(face, "Cancel")), box];
  },
  failed: (face) => [head(face, removal(face, "Remove")), make("p", { className: "sorry", textContent: face.error })],
  done: (face) => {
    const seen = Math.round(face.facts.seen_percent);
    const parts = [
      head(face,
        make("a", { className: "button main", href: `faces/${face.id}/zip`, textContent: "Download all (.zip)" }),
        make("a", { className: "button", href: address(face, "face.glb"), download: `${face.name.replace(/\.[^.]*$/, "")}.glb`, textContent: "face.glb" }),
        removal(face, "Remove")),
      make("iframe", { src: address(face, "viewer.html"), title: `Viewer of ${face.name}`, sandbox: "allow-scripts" }),
      make("figure", {},
        make("img", { src: address(face, "preview.png"), alt: "The photo, the fit over it, and three views of the face" }),
        make("figcaption", { textContent: "The photo, the fit over it, and the face from three sides under studio light." })),
      make("h3", { textContent: "What the photo shows" }),
      make("p", {}, `${seen} % of the texture is skin that the photo shows; the rest is inferred. More in the `,
        make("a", { href: address(face, "report.md"), target: "_blank", rel: "noopener", textContent: "report" }), "; the ",
        make("a", { href: address(face, "viewer.html"), target: "_blank", rel: "noopener", textContent: "viewer" }), " fills a tab of its own."),
    ];
    if (face.facts.doubts.length) {
      parts.push(make("h3", { textContent: "What looks uncertain" }),
        make("ul", { className: "doubts" }, ...face.facts.doubts.map((doubt) => make("li", { textContent: doubt }))));
    }
    return parts;
  },
};

const empty = () => [make("div", { className: "empty" },
  make("ol", {}, ...["Choose a photo", "Wait for the face", "Turn it, download it"].map((textContent) => make("li", { textContent }))),
  make("p", { textContent: "Photos and faces stay with this jaxface: nothing is sent elsewhere." }))];

const drawList = () => {
  const list = element("list");
  const focused = list.contains(document.activeElement) ? document.activeElement.dataset.id : null;
  const waiting = faces.filter((face) => face.state === "waiting");
  list.replaceChildren(...faces.map((face) => {
    const shown = picture(face);
    const thumb = shown ? make("img", { className: "thumb", src: shown, alt: "" }) : make("span", { className: "thumb" });
    const current = face.stages.findLast?.((event) => event.state !== "end");
    const ahead = waiting.indexOf(face);
    const state = face.state === "working" && current ? `${STAGES[current.stage] ?? current.stage} …` : ahead > 0 ? `waiting, ${ahead} before it` : face.error || STATES[face.state];
    const button = make("button", { type: "button", className: face.state, onclick: () => { chosen = face.id; draw(); } }, thumb,
      make("span", { className: "name", textContent: face.name }), make("span", { className: "state", textContent: state }));
    button.dataset.id = face.id;
    if (face.id === chosen) button.setAttribute("aria-current", "true");
    return make("li", {}, button);
  }));
  if (focused) list.querySelector(`[data-id="${focused}"]`)?.focus();
};

let listed = "";
const draw = () => {
  if (!faces.some((face) => face.id === chosen)) chosen = faces.at(-1)?.id ?? null;
  const face = faces.find((each) => each.id === chosen);
  document.body.classList.toggle("some", faces.length > 0);
  const summary = JSON.stringify([chosen, faces.map((each) => [each.id, each.state, each.stages.map((event) => [event.stage, event.state])])]);
  if (summary !== listed) drawList();
  listed = summary;
  const key = face ? `${face.id} ${face.state}` : "";
  if (key !== drawn || !element("face").children.length) element("face").replaceChildren(...(face ? views[face.state](face) : empty()));
  else if (face?.state === "working") element("steps").replaceChildren(...steps(face));
  drawn = key;
  const sentence = face ? `${face.name}: ${STATES[face.state]}` : "";
  if (sentence !== told) element("status").textContent = told = sentence;
};

const refresh = async () => {
  clearTimeout(timer);
  try {
    faces = (await ask("faces")).faces;
    draw();
    if (lost) element("messages").replaceChildren();
    lost = false;
  } catch (error) {
    if (!lost) complain(error.message);
    lost = true;
  }
  const busy = faces.some((face) => face.state === "waiting" || face.state === "working");
  clearTimeout(timer);
  timer = setTimeout(refresh, 1000 * (busy && !lost ? SECONDS_BUSY : SECONDS_IDLE));
};
let lost = false;

element("file").addEventListener("change", (event) => {
  const files = [...event.target.files];
  event.target.value = ""; // so that the same photo can be chosen again
  add(files);
});
const dragging = (on) => document.body.classList.toggle("dragging", on);
addEventListener("dragover", (event) => { event.preventDefault(); dragging(true); });
addEventListener("dragleave", (event) => { if (!event.relatedTarget) dragging(false); });
addEventListener("drop", (event) => { event.preventDefault(); dragging(false); add([...event.dataTransfer.files]); });
addEventListener("paste", (event) => add([...event.clipboardData.files]));
refresh();
