// Which images are copies, which were left out for it, and which count as one?

import { base, fileOf, run } from "../data.js";
import { h } from "../dom.js";
import { fixed, plural } from "../format.js";
import { imageButton } from "../grid.js";
import { empty, heading, selects } from "../parts.js";
import { block } from "../tables.js";

export const title = "Duplicates";

export function mount(root) {
  root.classList.add("page");
  const { pairs, found, left_out: left, groups, grouped, images } = run.copies;
  root.append(heading("Duplicates", lede(found, left, grouped, images)));
  const side = (place, id, split, gone = "not on the map", file = place === null ? "" : fileOf(place)) =>
    h(
      "div",
      {},
      place === null ? h("span.pic.missing", {}, gone) : imageButton(place, { caption: [] }),
      h("span.soft.num", {}, `${id}, ${split}`),
      h("span.soft.file", { title: file }, file),
    );
  const pairCards = pairs.map(({ a, b, ids, splits, kind, distance, left_out, file }) =>
    h(
      "figure.card.copy",
      {},
      h(
        "div.strip2",
        {},
        side(b, ids[1], splits[1]),
        side(a, ids[0], splits[0], left_out ? "left out" : undefined, file ?? undefined),
      ),
      h(
        "figcaption",
        {},
        h("span.tag", {}, kind),
        h("span.soft.num", {}, `distance ${fixed(distance, 2)}`),
        left_out && h("span.tag", {}, "left out"),
      ),
    ),
  );
  root.append(
    block(
      "du-pairs",
      "Copies",
      "The same photograph, whatever its name: of the same bytes (exact), or re-encoded, scaled, mirrored, brightened or cropped a little (near). Distance: 0 is the same, copies are nearer than 0.13." +
        (found > pairs.length ? ` Shown: ${pairs.length} of ${found} pairs, those with a left-out image first.` : ""),
      pairs.length ? h("div.pairs", {}, pairCards) : empty("No image is a copy of another."),
    ),
    block(
      "du-groups",
      "Counted as one",
      "Images that look nearly the same to the pretrained encoder, or that data.group names: intervals are over such groups, not over images." +
        (grouped > groups.length ? ` Shown: the ${groups.length} largest of ${grouped}.` : ""),
      groups.length
        ? h(
            "div.groups",
            {},
            groups.map((rows) =>
              h(
                "div.group",
                {},
                h(
                  "div.strip",
                  {},
                  rows.slice(0, 8).map((i) => imageButton(i, { queue: () => rows, caption: String(base.image_id[i]) })),
                ),
                selects(rows, plural(rows.length, "image"), "images that count as one"),
              ),
            ),
          )
        : empty("Every image counts by itself."),
    ),
  );
  return {};
}

function lede(found, left, grouped, images) {
  const copies = found
    ? `${plural(found, "pair")} of copies, ${left} of val left out because train holds them.`
    : "No copies: no image of val is in train, too.";
  return `${copies} ${grouped ? `${images} images are in ${plural(grouped, "group")} that count as one.` : ""}`;
}
