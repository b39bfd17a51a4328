"use strict";
(() => {
  const night = JSON.parse(document.getElementById("night").textContent);
  const nEpochs = night.stages.length;
  const element = (id) => document.getElementById(id);
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const percent = (share, decimals = 0) => `${(100 * share).toFixed(decimals)}\u00a0%`;
  const svgNode = (name, attributes) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    return node;
  };

  const eeg = new Int8Array(bytes(night.eeg).buffer);
  const samples = Math.round(night.epochSeconds * night.eegRate);
  const explained = night.explained.epochs;
  const explainedEpochs = Object.keys(explained).map(Number).sort((a, b) => a - b);
  const rank = new Map(night.reviewOrder.map((epoch, place) => [epoch, place]));
  let chosen = 0;

  // What an epoch is, in words.

  function ranked(epoch) {
    const values = night.probabilities[epoch];
    if (!values) return [];
    return values.map((value, index) => [night.stageNames[index], value]).sort((a, b) => b[1] - a[1]);
  }

  function describe(epoch) {
    const [first, second] = ranked(epoch);
    const where = `Epoch ${epoch}, ${night.times[epoch]}`;
    if (!first) return `${where}: not scored`;
    return `${where}: ${first[0]} ${percent(first[1])}, then ${second[0]} ${percent(second[1])}`;
  }

  // The night: pointing, choosing, keys.

  const overlay = element("overlay");
  const left = (epoch) => `${(100 * (epoch + 0.5)) / nEpochs}%`;
  const within = (epoch) => Math.min(nEpochs - 1, Math.max(0, epoch));

  function epochAt(event) {
    const box = overlay.getBoundingClientRect();
    return within(Math.floor(((event.clientX - box.left) / box.width) * nEpochs));
  }

  overlay.addEventListener("pointerdown", (event) => {
    overlay.setPointerCapture(event.pointerId);
    choose(epochAt(event));
  });
  overlay.addEventListener("pointermove", (event) => {
    const epoch = epochAt(event);
    if (event.buttons) choose(epoch);
    element("hovered").style.display = event.buttons ? "none" : "block";
    element("hovered").style.left = left(epoch);
    element("readout").textContent = describe(epoch);
  });
  overlay.addEventListener("pointerleave", () => {
    element("hovered").style.display = "none";
    element("readout").textContent = describe(chosen);
  });
  overlay.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -20, PageUp: 20 };
    const target = { Home: 0, End: nEpochs - 1 }[event.key] ?? chosen + (steps[event.key] ?? 0);
    if (!(event.key in steps) && event.key !== "Home" && event.key !== "End") return;
    event.preventDefault();
    choose(target);
  });

  // The chosen epoch.

  function drawTrace() {
    const range = Number(element("gain").value);
    const step = night.eegStepUv[chosen];
    let path = "";
    let isDrawing = false;
    for (let sample = 0; sample < samples; sample += 1) {
      const value = eeg[chosen * samples + sample];
      const isKnown = value !== night.eegMissing;
      if (isKnown) {
        const height = 1 + (value * step) / range; // negative is up
        path += `${isDrawing ? "L" : "M"}${(sample / night.eegRate).toFixed(2)} ${height.toFixed(4)}`;
      }
      isDrawing = isKnown;
    }
    element("trace").setAttribute("d", path);
    for (const [id, uv] of [["upper", 37.5], ["lower", -37.5]]) {
      element(id).setAttribute("y1", 1 - uv / range);
      element(id).setAttribute("y2", 1 - uv / range);
    }
    element("eeg-axis").innerHTML =
      `<span style="top: 7px">−${range}</span><span style="top: 50%">0 µV</span>` +
      `<span style="top: calc(100% - 7px)">${range}</span>`;
  }

  function drawMap(canvas, values, colourOf) {
    const seconds = values.length / 32;
    canvas.width = seconds;
    const context = canvas.getContext("2d");
    const image = context.createImageData(seconds, 32);
    values.forEach((value, index) => {
      const row = 31 - Math.floor(index / seconds); // 0 Hz at the bottom
      image.data.set([...colourOf(value), 255], 4 * (row * seconds + (index % seconds)));
    });
    context.putImageData(image, 0, 0);
  }

  const channels = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  const blend = (from, to, share) => from.map((value, index) => Math.round(value + (to[index] - value) * share));
  const stops = SPECTRUM_COLOURS.map(channels);
  const white = [255, 255, 255];

  function spectrumColour(value) {
    if (value === 0) return white;
    const place = ((value - 1) / 254) * (stops.length - 1);
    const below = Math.min(Math.floor(place), stops.length - 2);
    return blend(stops[below], stops[below + 1], place - below);
  }

  function relevanceColour(value) {
    return value >= 128
      ? blend(white, channels("#5c1a6b"), (value - 128) / 127)
      : blend(white, channels("#1b6f5a"), (128 - value) / 127);
  }

  function drawExplanation() {
    const found = explained[chosen];
    for (const id of ["spectrum", "relevance"]) element(id).parentElement.hidden = !found;
    element("neighbours").hidden = !found || !found.neighbours.length;
    element("shades").replaceChildren();
    element("explanation-caption").textContent = "";
    if (!found) return;
    const relevance = bytes(found.relevance);
    drawMap(element("spectrum"), bytes(found.spectrum), spectrumColour);
    drawMap(element("relevance"), relevance, relevanceColour);

    found.seconds.forEach((share, second) => {
      const attributes = { x: second, y: 0, width: 1, height: 2, opacity: 0.22 * Math.abs(share) };
      element("shades").append(svgNode("rect", { ...attributes, class: share < 0 ? "against" : "for" }));
    });
    const speaksAgainst = relevance.some((value) => value < 128);
    const decibels = night.explained.decibels.map((value) => `${Math.round(value)}`.replace("-", "−")).join(" to ");
    element("explanation-caption").textContent =
      `Below the EEG: its spectrogram (${decibels} dB of 1 µV²/Hz) and what spoke for ${night.stages[chosen]}, by band ` +
      `and second; darker is more${speaksAgainst ? ", green spoke against it" : ""} (method: ` +
      `${night.explained.method.replaceAll("_", " ")}). Behind the EEG: the same, summed over bands.`;
    if (found.neighbours.length) drawNeighbours(found.neighbours);
  }

  function drawNeighbours(neighbours) {
    const others = neighbours.filter(([epoch]) => epoch !== chosen);
    const largest = Math.max(...others.map(([, share]) => Math.abs(share)), 1e-9);
    const bars = neighbours.map(([epoch, share]) => {
      const bar = document.createElement("button");
      const fill = document.createElement("i");
      bar.type = "button";
      bar.title = `${describe(epoch)}; ${share.toFixed(1)} % of the weight`;
      bar.setAttribute("aria-label", bar.title);
      bar.className = `${epoch === chosen ? "self" : ""} ${share < 0 ? "against" : ""}`;
      fill.className = night.stages[epoch];
      fill.style.height = `${Math.min(100, Math.max(1, (100 * Math.abs(share)) / largest))}%`;
      bar.append(fill);
      bar.addEventListener("click", () => choose(epoch));
      return bar;
    });
    element("neighbour-bars").replaceChildren(...bars);
    const own = Math.round(neighbours.find(([epoch]) => epoch === chosen)[1]);
    const [before, after] = [neighbours[0], neighbours.at(-1)].map(
      ([epoch]) => (Math.abs(epoch - chosen) * night.epochSeconds) / 60,
    );
    const ofOthers =
      `The others, from ${before} min before to ${after} min after, are drawn in the colours of their stages, the ` +
      `tallest with ${largest.toFixed(1)} %${others.some(([, share]) => share < 0) ? "; pale ones spoke against it." : "."}`;
    element("neighbours-caption").textContent =
      `This epoch itself (outlined) has ${Math.abs(own)} % of the weight${own < 0 ? ", against its stage" : ""}. ` +
      (others.length ? ofOthers : "");
  }

  function choose(epoch) {
    chosen = within(epoch);
    const stage = night.stages[chosen];
    const values = night.probabilities[chosen];
    element("cursor").style.left = left(chosen);
    element("readout").textContent = describe(chosen);
    overlay.setAttribute("aria-valuenow", chosen);
    overlay.setAttribute("aria-valuetext", describe(chosen));
    const place = rank.has(chosen) ? `, number ${rank.get(chosen) + 1} to review` : "";
    element("epoch-title").textContent =
      `Epoch ${chosen}, ${night.times[chosen]}: ${values ? stage : "not scored"}${place}`;
    for (const row of element("probabilities").rows) {
      const value = values ? values[night.stageNames.indexOf(row.dataset.stage)] : 0;
      row.querySelector(".bar i").style.width = `${100 * value}%`;
      row.querySelector(".value").textContent = values ? percent(value, value < 0.0995 ? 1 : 0) : "–";
      row.className = row.dataset.stage === stage ? "given" : "";
    }
    for (const row of document.querySelectorAll(".review tr[data-epoch]")) {
      row.classList.toggle("chosen", Number(row.dataset.epoch) === chosen);
    }
    drawTrace();
    drawExplanation();
  }

  element("gain").addEventListener("change", drawTrace);
  for (const button of document.querySelectorAll("[data-step]")) {
    button.addEventListener("click", () => choose(chosen + Number(button.dataset.step)));
  }
  for (const button of document.querySelectorAll(".review button")) {
    button.addEventListener("click", () => choose(Number(button.dataset.epoch)));
  }
  element("next-review").addEventListener("click", () => {
    if (night.reviewOrder.length) choose(night.reviewOrder[((rank.get(chosen) ?? -1) + 1) % night.reviewOrder.length]);
  });
  element("next-explained")?.addEventListener("click", () => {
    choose(explainedEpochs.find((epoch) => epoch > chosen) ?? explainedEpochs[0]);
  });

  // What is worth a review.

  function markLane(lane, epochs, colour) {
    const marks = epochs.map((epoch) => svgNode("rect", { x: epoch, width: 1, height: 1, fill: colour }));
    lane?.replaceChildren(...marks);
  }

  function review(count) {
    markLane(element("review-lane"), night.reviewOrder.slice(0, count), "#b4540a");
    element("n-reviewed").textContent = count;
    element("minutes-reviewed").textContent = ((count * night.epochSeconds) / 60).toFixed(1);
    element("agreement-reviewed").textContent = percent(night.agreement[count], 1);
    document.querySelectorAll(".review tr[data-epoch]").forEach((row, place) => {
      row.classList.toggle("beyond", place >= count);
    });
  }

  const slider = element("review-slider");
  if (slider) {
    slider.addEventListener("input", () => review(Number(slider.value)));
    review(Number(slider.value));
  }
  markLane(element("explained-lane"), explainedEpochs, "#7b2d8b");
  choose(night.reviewOrder[0] ?? 0);
})();
