// Run inside the page by main.rs; gives what a reader would complain about. Lists are empty where
// there is nothing to complain about.
(() => {
  const shown = (element) => element.getClientRects().length > 0;
  const root = document.documentElement;
  const ground = getComputedStyle(document.body).backgroundColor;
  const plots = [...document.querySelectorAll("figure svg")].filter(shown);

  const channels = (colour) => colour.match(/[\d.]+/g).slice(0, 3).map(Number);
  const luminance = (colour) => {
    const [r, g, b] = channels(colour).map((c) => {
      const share = c / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  // The darker of the grounds that a text may be on: the page's, or a phase's band.
  const band = document.querySelector("svg .band");
  const grounds = [ground, ...(band ? [getComputedStyle(band).fill] : [])];

  let smallest = Infinity, smallestText = "", faint = Infinity, faintest = "";
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = texts.nextNode(); node; node = texts.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || !shown(element) || element.closest("title, desc, style")) continue;
    const style = getComputedStyle(element);
    const svg = element.closest("svg");
    const scale = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
    const size = parseFloat(style.fontSize) * scale;
    if (size < smallest) [smallest, smallestText] = [size, node.data];
    const colour = svg ? style.fill : style.color;
    const least = Math.min(...grounds.map((ground) => contrast(colour, ground)));
    if (least < faint) [faint, faintest] = [least, `${node.data}: ${colour}`];
  }

  const outside = [], overlapping = [];
  for (const svg of plots) {
    const frame = svg.getBoundingClientRect();
    const boxes = [...svg.querySelectorAll("text")].map((text) => [text.textContent, text.getBoundingClientRect()]);
    for (const [text, box] of boxes) {
      if (box.left < frame.left - 2 || box.right > frame.right + 2) outside.push(text);
    }
    boxes.forEach(([one, a], index) => {
      for (const [other, b] of boxes.slice(index + 1)) {
        // Lines of text may come close to each other, since boxes are higher than letters.
        const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (across > 1 && down > 6) overlapping.push(`${one} | ${other}`);
      }
    });
  }

  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  const named = (svg) =>
    svg.hasAttribute("aria-label") ||
    (svg.getAttribute("aria-labelledby") ?? "").split(" ").every((id) => document.getElementById(id)?.textContent);
  const result = {
    ground,
    width: root.scrollWidth,
    smallest, smallestText, contrast: faint, faintest, outside, overlapping,
    unnamed: [...document.querySelectorAll("svg")].filter((svg) => !named(svg)).map((svg) => svg.outerHTML.slice(0, 80)),
    repeated: ids.filter((id, index) => ids.indexOf(id) !== index),
    broken: [...document.querySelectorAll("svg *")]
      .flatMap((mark) => [...mark.attributes].map((attribute) => attribute.value))
      .filter((value) => /NaN|inf|undefined/.test(value)),
    plots: plots.map((svg) => ({
      title: svg.querySelector("title").textContent,
      marks: svg.querySelectorAll("path, rect, circle, line").length,
    })),
  };
  for (const details of document.querySelectorAll("details")) details.open = true;
  result.widthOpened = root.scrollWidth;
  return JSON.stringify(result);
})()
