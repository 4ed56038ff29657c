// Reads the measuring stream twice, and shows for each row when the server produced it and when it arrived here.
// All times are in milliseconds since the run began.

const ROWS = 12;
const DELAY = 400;
const BROKEN_AFTER = 6;
// How often in a row an EventSource may be cut off without a new row, before it is given up.
const TRIES = 3;
// How far apart two readings of one clock may seem to be: Date.now() counts whole milliseconds.
const CLOCK_NOISE = 1;

const [tableTemplate, rowTemplate] = document.querySelectorAll("template");
const stillness = matchMedia("(prefers-reduced-motion: reduce)");

// The browser's clock, and what can be known of the server's: no row is produced before it is asked for, and none
// arrives before it is produced. The same rule as in streamproof, the verifier.
class Clocks {
  #began = performance.now();
  #epoch = Date.now();
  #lower = -Infinity;
  #upper = Infinity;

  // performance.now() goes on evenly, even if somebody sets the clock.
  get now() {
    return performance.now() - this.#began;
  }

  // Takes the Unix time in seconds that a row carries, and returns it by the server's own clock.
  read(seconds, arrived) {
    const produced = seconds * 1000 - this.#epoch;
    this.#lower = Math.max(this.#lower, produced - arrived);
    this.#upper = Math.min(this.#upper, produced);
    return produced;
  }

  // How much the server's clock is ahead. Where it isn't surely ahead or behind, it is taken to agree. Else the fastest
  // row gets a lag of zero, so that none is negative, and none larger than it really was.
  get offset() {
    const agree = this.#lower <= CLOCK_NOISE && this.#upper >= -CLOCK_NOISE;
    return agree ? 0 : this.#lower;
  }

  get sentence() {
    if (this.#lower === -Infinity) {
      return "";
    }
    if (this.#lower > this.#upper + CLOCK_NOISE) {
      return "A clock was set during this run, so these lags mean nothing: run it again.";
    }
    if (this.offset === 0) {
      const unknown = Math.ceil(Math.max(-this.#lower, this.#upper));
      return `The server's clock and this browser's agree, as far as can be told: to within ${unknown} ms.`;
    }
    const [apart, which] = [Math.abs(this.offset) / 1000, this.offset > 0 ? "ahead of" : "behind"];
    const unknown = Math.ceil(this.#upper - this.#lower);
    return (
      `The server's clock is about ${apart.toFixed(3)} s ${which} this browser's: that is taken off, and lag is ` +
      `counted from the fastest row. A delay common to all rows, of up to ${unknown} ms, would not show.`
    );
  }
}

// The rows of one stream, and the section that shows them.
class Timeline {
  #section;
  #status;
  #lines = [];
  #rows = [];
  #clocks;

  constructor(id, clocks) {
    this.#section = document.getElementById(id);
    this.#status = this.#section.querySelector("[role=status]");
    this.#clocks = clocks;
    this.#section.querySelector("table")?.remove();
    this.#section.append(tableTemplate.content.cloneNode(true));
    for (let number = 1; number <= ROWS; number++) {
      const line = rowTemplate.content.firstElementChild.cloneNode(true);
      line.querySelector("th").textContent = number;
      this.#section.querySelector("tbody").append(line);
      this.#lines.push(line);
    }
    this.#say("running", "Reading: each row is drawn as it arrives.");
    this.move();
  }

  get count() {
    return this.#rows.length;
  }

  get running() {
    return this.#section.dataset.state === "running";
  }

  // Takes a row as the server wrote it: its number, the Unix time in seconds, and filler. Returns whether it is new.
  add(text) {
    const [number, seconds] = text.split(" ", 2).map(Number);
    if (!this.#lines[number - 1] || this.#rows.some((row) => row.number === number)) {
      return false;
    }
    const arrived = this.#clocks.now;
    this.#rows.push({ number, seconds, produced: this.#clocks.read(seconds, arrived), arrived });
    return true;
  }

  // Moves the time that has passed, and makes the timeline longer where it is too short.
  move() {
    const now = this.#clocks.now;
    const scale = Math.ceil(Math.max(ROWS * DELAY, now) / 1000) * 1000;
    this.#section.style.setProperty("--now", stillness.matches ? 0 : now);
    this.#section.style.setProperty("--scale", scale);
    this.#section.querySelector(".scale").textContent = `${scale / 1000} s`;
  }

  // Draws all rows anew: with each that arrives, more is known of the clocks.
  draw() {
    for (const { number, seconds, produced, arrived, lag, late } of this.#judged()) {
      const line = this.#lines[number - 1];
      const [producedCell, , arrivedCell, lagCell] = line.querySelectorAll("td");
      line.classList.add("arrived");
      line.classList.toggle("late", late);
      line.style.setProperty("--produced", produced);
      line.style.setProperty("--came", arrived);
      producedCell.firstChild.dateTime = new Date(seconds * 1000).toISOString();
      producedCell.firstChild.textContent = inSeconds(produced);
      arrivedCell.textContent = inSeconds(arrived);
      lagCell.textContent = inMilliseconds(lag);
    }
  }

  // Ends it. `trouble` is what else is to be said, and its state; by default there was none.
  end(trouble = {}) {
    this.move();
    this.draw();
    for (const line of this.#lines) {
      if (!line.classList.contains("arrived")) {
        line.classList.add("missing");
        line.lastElementChild.textContent = "missing";
      }
    }
    const [state, sentence] = this.#verdict();
    this.#say(trouble.state ?? state, [sentence, trouble.sentence].filter(Boolean).join(" "));
  }

  #say(state, sentence) {
    this.#section.dataset.state = state;
    this.#status.textContent = sentence;
  }

  // The rows with their times by the browser's clock. A row is late if the next one was due before it arrived.
  #judged() {
    return this.#rows.map((row) => {
      // Within the noise of the clocks, a row may seem to arrive before it was produced.
      const produced = Math.min(row.produced - this.#clocks.offset, row.arrived);
      const lag = row.arrived - produced;
      return { ...row, produced, lag, late: lag >= DELAY };
    });
  }

  #verdict() {
    const rows = this.#judged();
    if (rows.length === 0) {
      return ["failed", "No row arrived."];
    }
    const late = rows.filter((row) => row.late).length;
    const bursts = rows.filter((row, index) => !(row.arrived - rows[index - 1]?.arrived < DELAY / 2)).length;
    const largest = Math.max(...rows.map((row) => row.lag));
    const start = `${rows.length} of ${ROWS} rows arrived, largest lag ${inMilliseconds(largest)}: `;
    if (late === 0) {
      return ["in time", `${start}in time.`];
    }
    if (bursts * 2 > rows.length) {
      return ["late", `${start}${late === 1 ? "1 row was" : `${late} rows were`} late.`];
    }
    const shape = bursts === 1 ? "all together at the end" : `in ${bursts} bursts`;
    return ["late", `${start}${shape}. Something between app and browser buffers.`];
  }
}

function inSeconds(milliseconds) {
  return (milliseconds / 1000).toFixed(3);
}

function inMilliseconds(milliseconds) {
  return `${Math.round(milliseconds)} ms`;
}

// Reads lines of text. The browser tells a response that broke off by an error, where the edge let that through.
async function readWithFetch(query, timeline, draw, signal) {
  const response = await fetch(`measure?${query}`, { cache: "no-store", signal }).catch(() => null);
  if (response === null) {
    return { state: "failed", sentence: "The server cannot be reached." };
  }
  if (!response.ok) {
    const wait = response.headers.get("Retry-After");
    const advice = wait === null ? "" : `, to be tried again in ${wait} s (Retry-After)`;
    return { state: "failed", sentence: `Refused with ${response.status}${advice}.` };
  }
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const read = await reader.read().catch(() => null);
    if (read === null) {
      return {
        state: "truncated",
        sentence: "Truncated: the response broke off without its proper end, and so the browser noticed.",
      };
    }
    if (read.done) {
      break;
    }
    const lines = (rest + decoder.decode(read.value, { stream: true })).split("\n");
    rest = lines.pop();
    lines.forEach((line) => timeline.add(line));
    draw();
  }
  if (timeline.count < ROWS) {
    return {
      state: "truncated",
      sentence: "Truncated, and yet the response ended as if it were whole: only the count tells.",
    };
  }
}

// Reads server-sent events. Whenever the stream ends, the browser comes again by itself with the number of the last row
// (Last-Event-ID), so it must be closed when that has come.
function readWithEvents(query, timeline, draw, signal) {
  return new Promise((resolve) => {
    const source = new EventSource(`measure?format=sse&${query}`);
    let brokenAfter = null;
    let failures = 0;
    const end = (trouble) => {
      source.close();
      resolve(trouble);
    };
    signal.addEventListener("abort", () => end());
    source.onmessage = (event) => {
      if (timeline.add(event.data)) {
        failures = 0;
        draw();
      }
      if (timeline.count === ROWS) {
        const again = `The stream broke off after row ${brokenAfter}, and the browser came again by itself.`;
        end(brokenAfter === null ? {} : { sentence: again });
      }
    };
    source.onerror = () => {
      brokenAfter = timeline.count;
      failures += 1;
      if (source.readyState === EventSource.CLOSED) {
        end({ state: "failed", sentence: "Refused: an EventSource does not say why, nor does it try again." });
      } else if (failures === TRIES) {
        end({ state: "failed", sentence: "The connection was lost, and coming again did not help." });
      }
    };
  });
}

let current = new AbortController();

function run(more = "") {
  current.abort();
  current = new AbortController();
  const { signal } = current;
  const query = `rows=${ROWS}&delay_ms=${DELAY}${more}`;
  const clocks = new Clocks();
  const timelines = ["fetch", "events"].map((id) => new Timeline(id, clocks));
  const draw = () => {
    timelines.forEach((timeline) => timeline.draw());
    document.getElementById("clocks").textContent = clocks.sentence;
  };
  [readWithFetch, readWithEvents].forEach(async (read, index) => {
    const trouble = await read(query, timelines[index], draw, signal);
    if (!signal.aborted) {
      timelines[index].end(trouble);
    }
  });
  const frame = () => {
    const running = timelines.filter((timeline) => timeline.running);
    if (running.length && !signal.aborted) {
      running.forEach((timeline) => timeline.move());
      requestAnimationFrame(frame);
    }
  };
  frame();
}

document.getElementById("whole").addEventListener("click", () => run());
document.getElementById("broken").addEventListener("click", () => run(`&fail_after=${BROKEN_AFTER}`));
run();
