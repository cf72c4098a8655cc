// Is this label wrong? One large suspect, its evidence, and three keys.

import { columnNow, fileOf, isTrained, load, measure, pathOf, placeOf, run } from "../data.js";
import { button, copyButton, h, icon, isElsewhere, say, setStyle, replace } from "../dom.js";
import { meter } from "../charts.js";
import { save } from "../exports.js";
import { fixed, percent, plural } from "../format.js";
import { boxOver, missing, thumb } from "../images.js";
import {
  categoryFor,
  correctionsJson,
  excludeYaml,
  kept,
  markOf,
  marksJson,
  nameOf,
  readMarks,
  setMark,
  tally,
  undo,
} from "../marks.js";
import { empty, failed } from "../parts.js";
import { openImage, setState, state } from "../store.js";

const MARKS = /** @type {const} */ ([
  ["E", "Exclude", "e"],
  ["K", "Keep", "k"],
  ["U", "Unsure", "u"],
]);
const CORRECTIONS = /** @type {const} */ ([
  ["C", "Correct", "c"],
  ["N", "No object", "n"],
]);
const WORDS = Object.fromEntries([...MARKS, ...CORRECTIONS].map(([letter, text]) => [letter, text]));
/** Whether a mark can be of a suspect. */
const applies = (letter, suspect) =>
  letter === "C" ? categoryFor(suspect) !== null : letter !== "N" || suspect.annotation_id !== null;

export const title = "Review";

export function mount(root) {
  root.classList.add("rv");
  let suspects = /** @type {any[]} */ ([]);
  let message = "";
  root.append(h("h1.vh", { tabindex: -1 }, "Review"));
  let gone = false; // left before its data came
  const stop = { update(_changed) {}, unmount() {} };
  load("data/suspects").then(
    (content) => {
      if (gone) return;
      suspects = content.shown;
      if (suspects.length) begin(content);
      else {
        root.classList.add("page");
        root.querySelector("h1").classList.remove("vh");
        root.append(
          empty(
            isTrained()
              ? "No label is contradicted by a model that did not learn from it."
              : "No label is contradicted by the model.",
            isTrained() &&
              h("p.soft", {}, "Train's labels are judged, too, with ", h("code", {}, "labels.folds"), " of 2 or more."),
          ),
        );
      }
    },
    (error) => root.append(failed(error)),
  );

  function begin({ all }) {
    const queue = h("div.queue");
    const filters = h("div.f", { role: "group", "aria-label": "Kinds of suspects" });
    const items = h("ol", { id: "queue" });
    const progress = h("div.prog");
    const big = h("div.big");
    const decide = h("div.decide");
    const correct = h("div.correct", { role: "group", "aria-label": "Correct the label" });
    const why = h("aside.why", { "aria-label": "Evidence" });
    const input = h("input.vh", {
      type: "file",
      accept: ".json,.yaml,.yml",
      id: "import-marks",
      tabindex: -1,
      "aria-hidden": "true",
      onchange: readFile,
    });
    queue.append(filters, items);
    root.append(queue, h("div.work", {}, progress, big, correct, decide, input), why);

    const shown = () => suspects.map((_, k) => k).filter((k) => !state.kind || suspects[k].kind === state.kind);
    const at = () => (shown().includes(state.suspect) ? state.suspect : (shown()[0] ?? 0));

    function go(by) {
      const rows = shown();
      const next = rows[rows.indexOf(at()) + by];
      if (next !== undefined) setState({ suspect: next });
    }
    function mark(letter) {
      const k = at();
      if (!applies(letter, suspects[k])) return;
      setMark(suspects[k], letter);
      say(`${WORDS[letter]}: image ${suspects[k].image_id}; ${left()} left`);
      const rows = shown();
      const here = rows.indexOf(k);
      const open = [...rows.slice(here + 1), ...rows.slice(0, here)].find((other) => !markOf(suspects[other]));
      setState({ suspect: open ?? rows[here + 1] ?? k });
      draw();
    }
    function takeBack() {
      const name = undo();
      const k = suspects.findIndex((each) => nameOf(each) === name);
      if (k >= 0) setState({ suspect: k, ...(state.kind && state.kind !== suspects[k].kind && { kind: "" }) });
      say(k >= 0 ? `Undone: image ${suspects[k].image_id}` : "Nothing to undo");
      draw();
    }
    const left = () => suspects.filter((each) => !markOf(each)).length;

    async function readFile() {
      const file = input.files?.[0];
      if (!file) return;
      try {
        message = `${plural(readMarks(await file.text(), suspects), "mark")} read from ${file.name}`;
      } catch (error) {
        message = /** @type {Error} */ (error).message;
      }
      input.value = "";
      draw();
    }

    // ---- the queue ----
    function drawQueue() {
      const kinds = [...new Set(suspects.map((each) => each.kind))];
      const chip = (kind, text, count) =>
        h(
          "button.chip",
          {
            type: "button",
            class: state.kind === kind ? "on" : "",
            "aria-pressed": String(state.kind === kind),
            data: { kind },
            onclick: () => setState({ kind }),
          },
          `${text} `,
          h("i.num", {}, String(count)),
        );
      replace(
        filters,
        chip("", "All", suspects.length),
        ...kinds.map((kind) => chip(kind, kind, suspects.filter((each) => each.kind === kind).length)),
      );
      const now = at();
      replace(
        items,
        ...shown().map((k) => {
          const suspect = suspects[k];
          const letter = markOf(suspect);
          return h(
            "li",
            { ...(k === now && { "aria-current": "true" }) },
            h(
              "button",
              { type: "button", data: { suspect: k }, onclick: () => setState({ suspect: k }) },
              h("img", { src: `crops/${k}.webp`, alt: "", loading: "lazy" }),
              h("b", {}, claimOf(suspect)),
              h("small", {}, `${suspect.kind} ${fixed(suspect.score, 2)} · ${suspect.image_id}`),
              h("span.mk", { class: letter ?? "" }, letter ?? "", h("span.vh", {}, letter ? "" : "open")),
            ),
          );
        }),
      );
      items.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
    }

    // ---- the middle ----
    function drawProgress() {
      const done = tally(suspects);
      const rows = shown();
      const total = Object.values(run.suspects).reduce((a, b) => a + b, 0);
      const bar = h(
        "div.pbar",
        {
          role: "img",
          "aria-label": `${Object.values(done).reduce((a, b) => a + b, 0)} of ${suspects.length} reviewed`,
        },
        [
          ["E", "--worse"],
          ["C", "--accent"],
          ["N", "--warn"],
          ["K", "--better"],
          ["U", "--ink-3"],
        ].map(([letter, tone]) => {
          const part = h("i");
          setStyle(part, { width: `${(100 * done[letter]) / suspects.length}%`, background: `var(${tone})` });
          return part;
        }),
      );
      replace(
        progress,
        h(
          "div.t",
          {},
          h("h2.num", {}, `${rows.indexOf(at()) + 1} of ${rows.length}`),
          h("span.right"),
          button([icon("load"), "Import"], () => input.click(), {
            class: "s",
            title: "marks.json, exclude.yaml or corrections.json of this run",
          }),
          button("marks.json", () => save(marksJson(), "marks.json", "application/json"), {
            class: "s",
            id: "export-json",
            title: "All marks, to go on elsewhere",
          }),
          button("corrections.json", () => save(correctionsJson(suspects), "corrections.json", "application/json"), {
            class: "s",
            id: "export-corrections",
            title: "A COCO file of what was corrected: put it where data.corrections says, and run again",
            ...(done.C + done.N === 0 && { disabled: true }),
          }),
          button(
            [icon("save"), "exclude.yaml"],
            () => save(excludeYaml(suspects), "exclude.yaml", "application/yaml"),
            { class: "s main", id: "export-marks", title: "Put it where data.exclude says, and run again" },
          ),
        ),
        bar,
        h(
          "div.told",
          {},
          h(
            "span.soft.num",
            { id: "marks-count" },
            `${done.E} excluded, ${done.K} kept, ${done.U} unsure${done.C + done.N ? `, ${done.C + done.N} corrected` : ""}`,
          ),
          h(
            "p.soft.saved",
            { role: "status", id: "saved" },
            message ||
              (total > suspects.length
                ? `Of ${total} suspects those of the highest scores, of near copies the first. `
                : "") + (kept ? "Saved in this browser" : "This browser keeps nothing: export before you close"),
          ),
        ),
      );
    }
    function drawBig() {
      const k = at();
      const suspect = suspects[k];
      const file = `crops/${k}.webp`;
      const photo = h("img", {
        src: file,
        alt: `Surroundings of the suspect in image ${suspect.image_id}, with two outlines: the label's white, the model's cyan`,
      });
      const frame = h("span.cropped", {}, photo, h("img.outlines", { src: `crops/${k}.png`, alt: "" }));
      photo.onerror = () => missing(frame, file);
      replace(
        big,
        frame,
        h(
          "span.kx",
          {},
          h("span", {}, h("i.white"), `label: ${suspect.labelled}`),
          h("span", {}, h("i.cyan"), `model: ${suspect.suggested}`),
        ),
      );
    }
    function drawDecide() {
      const now = markOf(suspects[at()]);
      const whole = suspects[at()].annotation_id === null;
      replace(
        decide,
        ...MARKS.map(([letter, text, kind]) =>
          button([letter === "E" && whole ? "Exclude image" : text, h("kbd", {}, letter)], () => mark(letter), {
            class: kind,
            "aria-pressed": String(now === letter),
            "aria-keyshortcuts": letter,
            data: { mark: letter },
          }),
        ),
        button([icon("undo"), h("kbd", {}, "Z")], takeBack, { "aria-label": "Undo", data: { mark: "Z" } }),
      );
      const suspect = suspects[at()];
      const texts = { C: `It is ${suspect.suggested}`, N: `No ${suspect.labelled}: remove it` };
      replace(
        correct,
        CORRECTIONS.filter(([letter]) => applies(letter, suspect)).map(([letter, , kind]) =>
          button([h("span", {}, texts[letter]), h("kbd", {}, letter)], () => mark(letter), {
            class: kind,
            title: texts[letter],
            "aria-pressed": String(now === letter),
            "aria-keyshortcuts": letter,
            data: { mark: letter },
          }),
        ),
      );
      correct.hidden = !correct.children.length;
    }

    // ---- the evidence ----
    function drawWhy() {
      const suspect = suspects[at()];
      const place = placeOf.get(String(suspect.image_id));
      const others = all.filter((each) => each.sample === place && each.row !== suspect.row);
      const part = (name, value) =>
        value !== null &&
        value !== undefined && [h("span", {}, name), meter(value), h("span.n.num", {}, percent(value))];
      const parts = [
        part("the model's probability", suspect.probability),
        part("size of the contradiction", suspect.depth),
        part("faults among such", suspect.score),
      ];
      const whole = place === undefined ? null : thumb(place, { whole: true });
      whole?.append(boxOver(suspect.box));
      replace(
        why,
        h(
          "section",
          {},
          h("p.soft", {}, `${suspect.kind} · score ${fixed(suspect.score, 2)} · ${suspect.split}`),
          h("p.claim", {}, sentence(suspect)),
          h("p.soft.evidence", {}, `Labelled ${suspect.labelled}; ${suspect.evidence}.`),
          h("div.ev", {}, parts.filter(Boolean)),
          h(
            "p.soft",
            {},
            `Of ten labels with this score about ${(10 * suspect.score).toFixed(0)} are wrong where faults are as common as where this was measured (16 % of drawn images, 20 % of photographs); fewer where labels are better.`,
          ),
        ),
        h(
          "section",
          {},
          h("h2", {}, "In the whole image"),
          whole
            ? h(
                "button.whole",
                {
                  type: "button",
                  "aria-label": `Open image ${suspect.image_id}`,
                  onclick: () =>
                    openImage(
                      place ?? 0,
                      [...new Set(shown().map((k) => placeOf.get(String(suspects[k].image_id)) ?? -1))].filter(
                        (i) => i >= 0,
                      ),
                      suspect.object_id === null ? "" : String(suspect.object_id),
                    ),
                },
                whole,
              )
            : "",
          h(
            "p.soft.num",
            {},
            `${place === undefined ? "" : `${fileOf(place)} · `}${suspect.image_id}${suspect.annotation_id === null ? "" : `, annotation ${suspect.annotation_id}`}${place === undefined ? "" : ` · loss ${fixed(columnNow("loss")?.values[place], 2)}`}`,
            place === undefined ? "" : copyButton(pathOf(place), "Copy the image's path"),
          ),
          suspect.outcome
            ? h(
                "p.soft",
                {},
                `Its ${suspect.outcome === "extra" ? "region" : "object"} is ${suspect.outcome}: ${suspect.became}.${suspect.split === "train" ? " This is said of the run's own model, which did learn from train's labels." : ""}`,
              )
            : "",
        ),
        others.length
          ? h(
              "section",
              {},
              h("h2", {}, "Other suspects here"),
              h(
                "ul",
                {},
                others.map((each) =>
                  h(
                    "li.row",
                    {},
                    h("span", {}, `${each.kind}: ${each.labelled}`),
                    h("span.soft.num.right", {}, fixed(each.score, 2)),
                  ),
                ),
              ),
            )
          : "",
        h(
          "section",
          {},
          h("h2", {}, "Then"),
          h(
            "p.soft",
            {},
            "The model may be wrong: look, mark, put ",
            h("code", {}, "exclude.yaml"),
            " where ",
            h("code", {}, "data.exclude"),
            " says and ",
            h("code", {}, "corrections.json"),
            " where ",
            h("code", {}, "data.corrections"),
            " says, and run ",
            h("code", {}, "dvc repro"),
            ".",
          ),
          h("p.soft", {}, planted()),
        ),
        h(
          "section",
          {},
          h("h2", {}, "Keys"),
          h(
            "dl.facts",
            {},
            [
              ["E K U", "leave it out, keep it, unsure; and go on"],
              ["C N", "it is what is suggested; it is no object"],
              ["Z", "undo the last"],
              ["↑ ↓", "move in the queue"],
              ["Space", "hold to hide the outlines"],
            ].map(([keys, text]) => [
              h(
                "dt",
                {},
                keys.split(" ").map((key) => [h("kbd", {}, key), " "]),
              ),
              h("dd", {}, text),
            ]),
          ),
        ),
      );
    }

    function draw() {
      drawQueue();
      drawProgress();
      drawBig();
      drawDecide();
      drawWhy();
    }

    function onkey(event) {
      if (isElsewhere(event)) return;
      const letter = event.key.toUpperCase();
      if (letter in WORDS) mark(letter);
      else if (letter === "Z") takeBack();
      else if (event.key === "ArrowDown") go(1);
      else if (event.key === "ArrowUp") go(-1);
      else if (event.key === " " && !event.target.closest("button, a, summary")) big.classList.add("bare");
      else return;
      event.preventDefault();
    }
    const onup = (event) => event.key === " " && big.classList.remove("bare");
    document.addEventListener("keydown", onkey);
    document.addEventListener("keyup", onup);
    stop.update = (changed) => {
      if (changed && ["suspect", "kind", "theme"].some((key) => changed.has(key))) {
        message = "";
        draw();
      }
    };
    stop.unmount = () => {
      document.removeEventListener("keydown", onkey);
      document.removeEventListener("keyup", onup);
    };
    draw();
  }
  return {
    update: (changed) => stop.update(changed),
    unmount: () => {
      gone = true;
      stop.unmount();
    },
  };
}

/** A suspect in a few words. */
export function claimOf({ kind, labelled, suggested }) {
  if (kind === "missing") return `${suggested} not labelled`;
  if (kind === "inaccurate") return `${labelled} outline`;
  return `${labelled} → ${suggested}`;
}
function sentence({ kind, labelled, suggested }) {
  const model = isTrained() ? "the model, which did not learn from it," : "the model";
  if (kind === "missing") return `Nothing is labelled; ${model} sees ${suggested}`;
  if (kind === "inaccurate") return `The outline of this ${labelled} is not where ${model} sees it`;
  return `Labelled ${labelled}; ${model} sees ${suggested}`;
}

/** Of the sample, whose faults are known: how good the ranking is. */
function planted() {
  const kinds = Object.keys(run.suspects)
    .map((kind) => ({ kind, count: measure(`planted.${kind}`), found: measure(`precision_at_n.${kind}`) }))
    .filter(({ count, found }) => count?.value > 0 && found);
  return kinds.length
    ? `Planted faults of val, and how many of as many first suspects are ones: ${kinds.map(({ kind, count, found }) => `${kind} ${count.value}, ${percent(found.value)}`).join("; ")}.`
    : "";
}
