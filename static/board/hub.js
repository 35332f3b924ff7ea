// The one stream of a browser: it takes what pages want to hear, asks the server for all of it at once, and hands each
// its part. It runs in a shared worker, or in one tab for the others.
//
// A page's port gets {heard} at once, {open, status, session} once, then {chunk} with whole messages of the stream, and
// {end} when the page has to ask again. It sends {subscribe}, {ack} with how many chunks it took, and {bye}.

/**
 * What a page wants to hear: the board, and what changes about things (`about`), from the position `after` on. `session`
 * is the one that the page was rendered for.
 * @typedef {{board: boolean, about: string, after: string, session: string | null}} Subscription
 */
/** @typedef {{subscribe?: Subscription, ack?: number, bye?: boolean}} FromPage */
/** @typedef {{heard?: true, open?: true, status?: number, session?: string | null, chunk?: string, end?: true}} ToPage */
/** @typedef {{postMessage: (message: ToPage) => void}} Port */

/**
 * @typedef {object} Page
 * @property {boolean} board
 * @property {string} about
 * @property {string} position where it is in the stream
 * @property {string | null} session
 * @property {boolean} open whether it knows that its stream is open
 * @property {number[]} sent the sizes of what it has not acknowledged
 * @property {number} size their sum
 * @property {number} ackedAt
 */

/** @typedef {{event: string, data: string, id: string}} StreamMessage */
/** @typedef {{abort: AbortController, open: boolean}} Connected */
/** @typedef {(url: string, options: RequestInit) => Promise<Response>} Fetch */

const GATHER_MS = 30; // tabs that are opened or restored together
const SILENT_MS = 12_000; // the server says something every 5 s
const GONE_MS = 30_000; // a page acknowledges every pulse
const BEHIND_CHARS = 1 << 20;

/** @param {string} position */
const numberOf = (position) => Number(position.slice(position.indexOf("-") + 1));
/** @param {string} position */
const epochOf = (position) => position.slice(0, position.indexOf("-"));

/**
 * @param {string} block a message of the stream, without the empty line at its end
 * @returns {StreamMessage}
 */
const parse = (block) => {
  /** @type {Record<string, string>} */
  const fields = {};
  for (const line of block.split("\n")) {
    const colon = line.indexOf(": ");
    if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 2);
  }
  return { event: fields.event ?? "", data: fields.data ?? "", id: fields.id ?? "" };
};

export class Hub {
  /** @type {Map<Port, Page>} */
  pages = new Map();
  #fetch;
  /** @type {Connected | null} */
  #connection = null;
  #asked = ""; // for what
  /** @type {string | null} */
  #session = null;
  #position = "";
  #heardAt = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer = undefined;

  /** @param {Fetch} fetch asks the server itself */
  constructor(fetch) {
    this.#fetch = fetch;
    setInterval(() => this.#look(), 2000);
  }

  /**
   * What a page says.
   * @param {Port} port
   * @param {FromPage} message
   */
  hear(port, message) {
    if (message.subscribe) {
      const { board, about, after, session } = message.subscribe;
      this.pages.set(port, { board, about, position: after, session, open: false, sent: [], size: 0, ackedAt: Date.now() });
      port.postMessage({ heard: true });
      this.#soon(GATHER_MS);
    } else if (message.bye) {
      if (this.pages.delete(port)) this.#soon(GATHER_MS);
    } else if (message.ack) {
      const page = this.pages.get(port);
      if (!page) return;
      page.ackedAt = Date.now();
      for (const size of page.sent.splice(0, message.ack)) page.size -= size;
    }
  }

  /** @param {number} pause in ms */
  #soon(pause) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#settle(), pause);
  }

  #wanted() {
    const about = new Set();
    let board = false;
    for (const page of this.pages.values()) {
      if (page.about) about.add(page.about);
      board ||= page.board;
    }
    const query = new URLSearchParams();
    if (about.size) query.set("about", [...about].sort().join(","));
    if (board) query.set("board", "1");
    return query.toString();
  }

  // The stream is the one that is wanted, or is opened again.
  #settle() {
    const wanted = this.#wanted();
    if (!this.pages.size) return this.#hangUp();
    const fresh = [...this.pages.values()].filter((page) => !page.open);
    const late = fresh.some((page) => page.board && this.#isBehind(page));
    const other = fresh.some((page) => page.session !== this.#session);
    // What no page shows now may stay in the request until the next one comes, except the board's many rows.
    const enough = wanted === this.#asked || (!fresh.length && wanted.includes("board=") === this.#asked.includes("board="));
    if (this.#connection?.open && enough && !late && !other) {
      for (const [port, page] of this.pages) {
        if (page.open) continue;
        this.#welcome(port, page, 200);
        // Another page shows the same: what changed since this one was read, was said before it was here.
        if (page.about) this.#send(port, page, `event: changed\ndata: ${page.about}`);
      }
      return;
    }
    void this.#connect(wanted);
  }

  /** @param {Page} page */
  #isBehind(page) {
    return epochOf(page.position) === epochOf(this.#position) && numberOf(page.position) < numberOf(this.#position);
  }

  #hangUp() {
    this.#connection?.abort.abort();
    this.#connection = null;
    this.#asked = "";
  }

  // From where all boards can go on. Where they come from different epochs, the stream's own counts.
  #from() {
    const boards = [...this.pages.values()].filter((page) => page.board && page.position);
    const epoch = epochOf(this.#position || boards[0]?.position || "-");
    const positions = boards.map((page) => page.position).filter((position) => epochOf(position) === epoch);
    positions.sort((a, b) => numberOf(a) - numberOf(b));
    return positions[0] ?? this.#position;
  }

  /** @param {string} wanted the query of the stream */
  async #connect(wanted) {
    this.#hangUp();
    const connection = { abort: new AbortController(), open: false };
    this.#connection = connection;
    this.#asked = wanted;
    const from = this.#from();
    const connecting = setTimeout(() => connection.abort.abort(), 8000);
    /** @type {Response | null} */
    let response = null;
    try {
      response = await this.#fetch(`/board/stream?${wanted}`, {
        headers: { Accept: "text/event-stream", ...(from ? { "Last-Event-ID": from } : {}) },
        signal: connection.abort.signal,
        cache: "no-store",
        redirect: "manual",
      });
    } catch {
      // no answer
    }
    clearTimeout(connecting);
    if (this.#connection !== connection) return;
    if (!response?.ok || !response.body) return this.#failed(response?.status || 503);
    this.#session = response.headers.get("X-Session");
    this.#position ||= from;
    this.#heardAt = Date.now();
    connection.open = true;
    for (const [port, page] of this.pages) {
      if (page.open && page.session !== this.#session) this.#drop(port); // it asks again, and gets the session of this stream
      else this.#welcome(port, page, 200);
    }
    await this.#read(connection, response.body.getReader());
  }

  /**
   * @param {Port} port
   * @param {Page} page
   * @param {number} status
   */
  #welcome(port, page, status) {
    if (!page.open) {
      page.open = true;
      port.postMessage({ open: true, status, session: this.#session });
    }
    // Its board was read on another node, or before that one was started again: it is read again.
    const strange = page.board && this.#position && epochOf(page.position) !== epochOf(this.#position);
    if (strange) {
      page.position = this.#position;
      this.#send(port, page, `id: ${this.#position}\nevent: resync\ndata: `);
    }
  }

  /**
   * Every page asks again by itself, as it would on a connection of its own.
   * @param {number} status
   */
  #failed(status) {
    this.#hangUp();
    for (const [port, page] of this.pages) port.postMessage(page.open ? { end: true } : { open: true, status, session: null });
    this.pages.clear();
    this.#position = "";
  }

  /**
   * @param {Connected} connection
   * @param {ReadableStreamDefaultReader<Uint8Array>} reader
   */
  async #read(connection, reader) {
    const decoder = new TextDecoder();
    let rest = "";
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (this.#connection !== connection) return;
        if (done) break;
        this.#heardAt = Date.now();
        const blocks = (rest + decoder.decode(value, { stream: true })).split("\n\n");
        rest = blocks.pop() ?? "";
        for (const block of blocks) this.#dispatch(block);
      }
    } catch {
      // cut off: as if it had ended
    }
    if (this.#connection === connection) this.#failed(503);
  }

  /** @param {string} block */
  #dispatch(block) {
    const message = parse(block);
    if (message.id) this.#position = message.id;
    const touched = message.event === "changed" ? new Set(message.data.split(" ")) : null;
    for (const [port, page] of this.pages) {
      if (!page.open) continue;
      if (message.event === "resync") {
        page.position = message.id;
        this.#send(port, page, block);
      } else if (touched) {
        if (touched.has(page.about)) this.#send(port, page, block);
      } else if (message.event === "pulse" || block.startsWith(":")) this.#send(port, page, block);
      else if (page.board) {
        if (message.id) {
          if (numberOf(message.id) <= numberOf(page.position)) continue;
          page.position = message.id;
        }
        this.#send(port, page, block);
      }
    }
  }

  /**
   * @param {Port} port
   * @param {Page} page
   * @param {string} block
   */
  #send(port, page, block) {
    if (page.size + block.length > BEHIND_CHARS && page.sent.length) return this.#drop(port);
    page.sent.push(block.length);
    page.size += block.length;
    port.postMessage({ chunk: `${block}\n\n` });
  }

  /** @param {Port} port */
  #drop(port) {
    this.pages.delete(port);
    port.postMessage({ end: true });
  }

  #look() {
    const at = Date.now();
    for (const [port, page] of this.pages) if (page.sent.length && at - page.ackedAt > GONE_MS) this.#drop(port);
    if (!this.pages.size) return this.#hangUp();
    if (this.#connection?.open && at - this.#heardAt > SILENT_MS) this.#failed(503);
  }
}
