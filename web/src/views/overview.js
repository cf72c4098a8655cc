// How good is it, and what to look at first?

import { base, isTrained, isVal, least, load, measure, n, run, trusted, units } from "../data.js";
import { copyButton, h, link } from "../dom.js";
import { curves, interval, reliability } from "../charts.js";
import { findingCard, findings } from "../findings.js";
import { capital, fixed, percent, plural, range, isolated } from "../format.js";
import { imageButton } from "../grid.js";
import { closeUp } from "../images.js";
import { classKey, figure, heading, intervalText, selects, whenLoaded } from "../parts.js";
import { block, cell, rowHead, table } from "../tables.js";
import { swatch } from "../swatch.js";
import { ordered } from "../stats.js";
import { openImage, setState } from "../store.js";

const CARDS = 6;
const HARDEST = 24;
const GAPS = 5; // classes whose calibration is told at once, the worst first

export const title = "Overview";

export function mount(root) {
  root.classList.add("page");
  root.append(
    heading("Overview", lede(), run.source === "sample" && notice()),
    h(
      "section",
      { id: "ov-metrics" },
      tiles(),
      h(
        "div.key.tilekey",
        {},
        h("span", {}, h("i.tk"), "val"),
        h("span", {}, h("i.band"), `95 % bootstrap interval over ${run.unit}`),
        h("span", {}, h("i.tk2"), "train"),
      ),
    ),
    first(),
    standsOut(),
    training(),
    metrics(),
  );
  return {};
}

const notice = () =>
  h(
    "p.notice",
    {},
    "These images are drawn. The sample shows how segscope works and has planted groups and label faults to find; its figures say nothing about photographs.",
  );

function lede() {
  const images = measure("images")?.value;
  const ious = run.classes.map((each) => [each.name, measure(`iou.${each.name}`)]).filter(([, m]) => m);
  if (!images || !ious.length) return "There is no image with labels to measure on.";
  const shown = ious.length > 3 ? [...ious].sort((a, b) => a[1].value - b[1].value).slice(0, 3) : ious;
  const list = shown.map(([name, m]) => `${fixed(m.value, 2)} for ${isolated(name)}`);
  const joined = list.length > 1 ? `${list.slice(0, -1).join(", ")} and ${list.at(-1)}` : list[0];
  const worst = ious.length > 3 ? " (its lowest)" : "";
  const unseen = isTrained() ? " that it did not learn from" : " of val";
  return `On ${plural(images, "image")}${unseen}, the model reaches an IoU of ${joined}${worst}. ${errorSentence()}`;
}

/** What kind of error costs each class most. */
function errorSentence() {
  const parts = run.classes
    .map(({ name }) => {
      const shareOf = (kind) => measure(`errors.${name}.${kind}`)?.value ?? 0;
      const [kind] = Object.keys(run.errorKinds).sort((a, b) => shareOf(b) - shareOf(a));
      const share = shareOf(kind);
      return share > 0 ? `${run.errorKinds[kind].label} for ${isolated(name)} (${percent(share)})` : "";
    })
    .filter(Boolean)
    .slice(0, 3);
  return parts.length ? `The largest part of its wrong pixels is ${parts.join(", ")}.` : "";
}

// ---- tiles ----
function tiles() {
  const ious = run.classes
    .map(({ name }) => [`iou.${name}`, `IoU of ${isolated(name)}`])
    .filter(([name]) => measure(name));
  const shown =
    ious.length > 3
      ? [...ious]
          .sort((a, b) => (measure(a[0])?.value ?? 0) - (measure(b[0])?.value ?? 0))
          .slice(0, 2)
          .map(([name, text]) => [name, `${text}, low`])
      : ious;
  const made = [
    ...shown.map(([name, text]) => tile(name, text, [0, 1])),
    tile("pixel_accuracy", "Pixel accuracy", [0.5, 1]),
    tile("loss", "Loss", null, "lower is better"),
    tile("calibration_error", "Calibration error", null, "lower is better"),
    tile("separability", `Separability of ${run.sides.map(isolated).join(" and ")}`, [0.5, 1], "0.5 is chance"),
  ].filter(Boolean);
  return h("div.tiles", {}, made);
}

function tile(name, text, scale, note = "") {
  const [val, train] = [measure(name), measure(name, "train")];
  if (!val) return null;
  const clear = trusted(val);
  const ends = scale ?? [0, niceTop(Math.max(val.value, val.high ?? 0, train?.value ?? 0) * 1.25)];
  const words = clear ? range(val.low, val.high) : val.low === null ? "" : "too few";
  return h(
    "div.tile",
    { data: { metric: name } },
    h("div.eyebrow", {}, text),
    h("div.v.num", {}, fixed(val.value)),
    h(
      "div.ci.num",
      { title: clear || val.low === null ? "" : intervalText(val) },
      [words, train && `train ${fixed(train.value)}`].filter(Boolean).join(" · "),
    ),
    interval({
      value: val.value,
      low: clear ? val.low : null,
      high: clear ? val.high : null,
      tick: train?.value ?? null,
      scale: ends,
    }),
    h("div.scale", {}, h("span", {}, String(ends[0])), h("span", {}, note), h("span", {}, String(ends[1]))),
  );
}

function niceTop(value) {
  const unit = 10 ** Math.floor(Math.log10(value || 1));
  return Number((Math.ceil(value / unit) * unit).toPrecision(3));
}

// ---- where to look first ----
function first() {
  const val = Array.from({ length: n }, (_, i) => i).filter(isVal);
  const hardest = ordered(val.length ? val : Array.from({ length: n }, (_, i) => i), base.loss).slice(0, HARDEST);
  const suspects = whenLoaded(h("article.card"), load("data/suspects"), ({ shown }) => suspectCard(shown));
  const objects = ["missed", "extra"].map((outcome) =>
    whenLoaded(h("article.card"), load("data/objects"), (content) => objectCard(content, outcome)),
  );
  return block(
    "ov-first",
    "Where to look first",
    "What costs the model most, and which labels may be wrong.",
    h(
      "div.found.four",
      {},
      h(
        "article.card",
        {},
        h("h3", {}, "The hardest images"),
        h("p.soft", {}, run.unsure || "The val images with the highest loss."),
        run.unsure
          ? ""
          : [
              h(
                "div.strip2",
                {},
                hardest.slice(0, 4).map((i) => imageButton(i, { queue: () => hardest })),
              ),
              h("footer", {}, selects(hardest, `The ${hardest.length} hardest`, "the hardest val images")),
            ],
      ),
      suspects,
      ...objects,
    ),
  );
}

function suspectCard(shown) {
  const likely = shown.filter((each) => each.score >= 0.5).length;
  const tile = (suspect, k) =>
    h(
      "button.thumb",
      { type: "button", onclick: () => setState({ view: "review", sub: "", kind: "", suspect: k }) },
      cropPicture(suspect, k),
      h("span.c", {}, h("span.id", {}, suspect.kind), h("b.num", {}, fixed(suspect.score, 2))),
    );
  return [
    h("h3", {}, "Labels that may be wrong"),
    h(
      "p.soft",
      {},
      shown.length
        ? `${likely} of the ${shown.length} shown have a score of 0.5 or more.`
        : "No label is contradicted.",
    ),
    h("div.strip2", {}, shown.slice(0, 4).map(tile)),
    h(
      "footer",
      {},
      link("Review them", () => setState({ view: "review", sub: "" })),
    ),
  ];
}

/** A suspect's surroundings with its outlines. */
export const cropPicture = (suspect, k) =>
  h(
    "span.pic.crop",
    {},
    h("img", { src: `crops/${k}.webp`, alt: `Surroundings of the suspect in image ${suspect.image_id}` }),
    h("img.outlines", { src: `crops/${k}.png`, alt: "" }),
  );

function objectCard({ rows, counts }, outcome) {
  const of = rows.outcome.map((_, k) => k).filter((k) => rows.outcome[k] === outcome);
  const total = counts.n.reduce((sum, count, k) => sum + (counts.outcome[k] === outcome ? count : 0), 0);
  const open = (k) => openImage(rows.sample[k], [...new Set(of.map((j) => rows.sample[j]))], String(rows.object_id[k]));
  const tile = (k) =>
    h(
      "button.thumb",
      { type: "button", onclick: () => open(k) },
      closeUp(rows.sample[k], rows.box[k]),
      h("span.c", {}, h("span.id", {}, rows.class[k]), h("b", {}, rows.size[k])),
    );
  const words = {
    missed: ["Objects that it misses", "The largest of val first."],
    extra: ["Objects that are not labelled", "The regions it is surest of: its mistakes, or missing labels."],
  }[outcome] ?? ["", ""];
  return [
    h("h3", {}, words[0]),
    h("p.soft", {}, words[1]),
    h("div.strip2", {}, of.slice(0, 4).map(tile)),
    h(
      "footer",
      {},
      link(`All ${total}`, () =>
        setState({ view: "objects", sub: "ob-list", outcome, objectClass: "", category: "", objectSize: "" }),
      ),
    ),
  ];
}

// ---- findings ----
function standsOut() {
  const cards = findings().slice(0, CARDS);
  const section = block(
    "ov-found",
    "What stands out",
    "How metadata relate to the scores. Chosen by p-values, corrected for all that was asked alike; each interval is by itself.",
    cards.length
      ? h("div.found", { id: "top-insights" }, cards.map(findingCard), cards.length % 3 ? claimsCard() : null)
      : h("p", { id: "top-insights" }, "Nothing is shown to move the scores."),
  );
  section.querySelector("header")?.append(h("a.right", { href: "#performance/pf-findings" }, "All findings"));
  return section;
}

/** Common claims about such models, tested on this one. */
function claimsCard() {
  const claims = run.insights.filter((row) => row.kind === "claim");
  if (!claims.length) return null;
  const items = claims.slice(0, 6).map((row) => {
    const [question, answer = ""] = row.statement.split(/(?<=\?) /);
    const parts = answer
      .split("; ")
      .filter((part) => part.includes(":"))
      .map((part) => part.replace(/ \(.*$/, ""));
    return [
      h("dt", {}, question),
      h(
        "dd",
        {},
        parts.map((part) => h("div", {}, part)),
      ),
    ];
  });
  return h(
    "article.card.finding",
    {},
    h("h3", {}, "More instances, worse?"),
    h("dl.asked", {}, items),
    h("footer", {}, h("a.link", { href: "#performance/pf-claims" }, "With their intervals")),
  );
}

// ---- how it was made ----
function training() {
  return h("section.block.three", { id: "ov-made" }, trainingFigure(), calibration(), produced());
}

function trainingFigure() {
  const { epoch, ...history } = run.history;
  const kept = measure("epoch", "")?.value ?? null;
  const wanted = [
    ["loss", "loss", "var(--ink-2)"],
    ...run.classes.slice(0, 6).map((each) => [`iou_${each.name}`, `IoU ${each.name}`, each.color]),
  ];
  const lines = wanted
    .filter(([key]) => history[key])
    .map(([key, name, color]) => ({ name, color, train: history[key], val: history[`val_${key}`] ?? [] }));
  if (!epoch?.length || !lines.length)
    return h(
      "figure.card",
      {},
      h("h3", {}, "Training"),
      h("p.soft", {}, "No training is logged: the model is another one's."),
    );
  const last = lines.map(({ name, val, train }) => `${name} ${fixed((val.length ? val : train).at(-1), 2)}`).join(", ");
  return figure(
    "Training",
    curves({ x: epoch, lines, kept, label: `Training over ${plural(epoch.length, "epoch")}; at the end ${last}` }),
    "Solid: val. Dashed: train, as it was trained on.",
    seeds(),
  );
}

function seeds() {
  const trainings = measure("trainings")?.value ?? 1;
  if (!(trainings > 1))
    return h("p.soft", {}, "Of a single training: how much another seed alone would move the figures is not known.");
  const of = (kind) => {
    const found = run.classes.map(({ name }) => [name, measure(`spread.${kind}.${name}`)?.value]);
    if (found.length <= 3) return found.map(([name, value]) => `${isolated(name)} ${fixed(value)}`).join(", ");
    const values = found.map(([, value]) => value).filter((value) => value !== undefined);
    return values.length
      ? `${fixed(Math.min(...values))} to ${fixed(Math.max(...values))} over the classes`
      : "unknown";
  };
  return h(
    "p.soft",
    { id: "spread" },
    `Another seed alone moves val's figures, which the intervals do not tell: over ${trainings} trainings the standard deviation is ${fixed(measure("spread.loss")?.value)} of the loss, of the IoU ${of("iou")}, of the boundary IoU ${of("boundary_iou")}; a difference between two runs that is not several times as large may come of their seeds alone.`,
  );
}

/** How a class's confidence is off, where the interval shows that it is. */
const offBy = (gap, digits = 3) =>
  trusted(gap) && (gap.low > 0 || gap.high < 0)
    ? `${gap.value > 0 ? "too sure" : "not sure enough"} by ${fixed(Math.abs(gap.value), digits)}`
    : "not shown to be off";

function calibration() {
  const { class: names, confidence, accuracy, pixels } = run.reliability;
  const lines = [{ name: "background", color: "var(--ink-3)" }, ...run.classes]
    .map(({ name, color }) => ({
      name,
      color,
      bins: (names ?? [])
        .map((_, k) => k)
        .filter((k) => names[k] === name && pixels[k] > 0)
        .map((k) => ({ confidence: confidence[k], accuracy: accuracy[k], pixels: pixels[k] })),
    }))
    .filter(({ bins }) => bins.length);
  const said = run.classes
    .map(({ name }) => ({ name, gap: measure(`gap.${name}`) }))
    .filter(({ gap }) => gap)
    .sort((a, b) => Math.abs(b.gap.value) - Math.abs(a.gap.value));
  const words = said.map(({ name, gap }) =>
    h(
      "li",
      {},
      `${capital(isolated(name))}: sure by ${percent(measure(`confidence.${name}`)?.value)}, right ${percent(measure(`right.${name}`)?.value)}: ${offBy(gap)} `,
      h("span.soft.num", {}, intervalText(gap)),
    ),
  );
  const rest = words.slice(GAPS);
  const list = h(
    "div",
    { id: "calibration" },
    h(
      "ul.plain",
      {},
      words.length ? words.slice(0, GAPS) : h("li", {}, run.unsure || "No val pixel is predicted as a class."),
    ),
    rest.length ? h("details", {}, h("summary", {}, `${rest.length} more classes`), h("ul.plain", {}, rest)) : null,
  );
  if (!lines.length) return h("figure.card", {}, h("h3", {}, "Calibration on val"), list);
  const key = h(
    "div.key",
    {},
    lines.map(({ name, color }) => h("span", {}, swatch(color, true), name)),
  );
  return figure(
    "Calibration on val",
    reliability({
      lines,
      label: `How often pixels are right, by how sure the model is: ${said.map(({ name, gap }) => `${name} ${offBy(gap, 2)}`).join(", ")}`,
    }),
    null,
    key,
    list,
  );
}

function produced() {
  const { variant, source, resolution, training: how, model, images } = run.produced;
  const command = `git log -S ${model} -- dvc.lock`;
  const facts = [
    ["Variant", [h("b", {}, variant), classKey()]],
    ["Source", source],
    [
      "Images",
      `${["train", "val"].map((split) => `${measure("images", split)?.value ?? 0} ${split}`).join(", ")} at ${resolution}`,
    ],
    ["Training", how],
    ["Model", h("code", { title: "MD5 sum in dvc.lock" }, model)],
    ["Image list", h("code", { title: "MD5 sum in dvc.lock" }, images)],
    [
      "Left out",
      run.skipped.length
        ? run.skipped.map((row) => `${row.n} ${row.split}: ${String(row.reason).replaceAll("_", " ")}`).join("; ")
        : "nothing",
    ],
  ];
  return h(
    "div.card",
    {},
    h("h3", {}, "How this was produced"),
    h(
      "dl.facts",
      {},
      facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
    ),
    h("p.soft", {}, "Which revision made it:"),
    h("div.cmd", {}, h("code", {}, command), copyButton(command, "Copy the command")),
  );
}

// ---- all metrics ----
function metrics() {
  const names = [
    ["loss", "loss"],
    ["pixel_accuracy", "pixel accuracy"],
    ["calibration_error", "calibration error"],
  ];
  for (const { name } of run.classes)
    names.push(
      [`iou.${name}`, `IoU of ${isolated(name)}`],
      [`boundary_iou.${name}`, `boundary IoU of ${name}`],
      [`mean_iou.${name}`, `mean IoU of ${name}`],
    );
  names.push(["separability", "separability"]);
  const row = ([name, text]) => {
    const cells = ["val", "train"].flatMap((split) => {
      const m = measure(name, split);
      return [
        cell(fixed(m?.value), { n: true, v: m?.value ?? null, l: split }),
        cell(h("span.soft.num", {}, intervalText(m)), { cls: "off" }),
      ];
    });
    return measure(name) || measure(name, "train") ? h("tr", { data: { metric: name } }, rowHead(text), cells) : null;
  };
  const section = block(
    "ov-all",
    "All metrics",
    null,
    table(
      [
        { title: "Metric", sort: true },
        { title: "val", n: true, sort: true },
        { title: "95 % interval, n" },
        { title: "train", n: true, sort: true },
        { title: "95 % interval, n" },
      ],
      names.map(row).filter(Boolean),
      { label: "Metrics of train and val with their intervals" },
    ),
    h(
      "p.soft.under",
      {},
      `95 % bootstrap intervals over ${run.unit}. IoU is of the whole split; mean IoU is the mean over the images that show the class; boundary IoU is of the pixels near either outline, whatever is inside. n: how many ${units()} carry the figure, as many as equal shares would be as uneven; below ${run.trusted}, of separability below ${least("separability")}, an interval would be too narrow, and none is shown.`,
    ),
  );
  section.querySelector("table").id = "metrics";
  return section;
}
