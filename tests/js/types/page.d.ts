// What the scripts find in their page beside the DOM: libraries, the few globals of our own, and custom events.

import type * as Leaflet from "leaflet";

declare global {
  /** `response` is missing if no answer came. */
  interface HtmxContext {
    request: { method: string; headers: Record<string, string> };
    fetch?: typeof fetch;
    response?: Response;
    text?: string;
    sourceElement: Element | null;
  }

  /** One swap of a response: `fragment` replaces or joins `target`. A task with target null does nothing. */
  interface HtmxTask {
    target: Element | null;
    fragment?: DocumentFragment;
    swapSpec: { style: string };
  }

  interface HtmxConnection {
    reader?: ReadableStreamDefaultReader<Uint8Array>;
    delayCanceller?: () => void;
  }

  interface HtmxMessage {
    event: string;
    data: string;
    id: string;
  }

  interface Htmx {
    config: { morphIgnore: string[]; morphSkipChildren: string };
    ajax(
      method: string,
      path: string | undefined,
      options: { source?: Element; target?: Element; swap: string },
    ): Promise<void>;
    trigger(element: Element, event: string): void;
  }

  interface Element {
    /** Of htmx: the stream of an element that has one. */
    _htmx?: { sse?: object };
  }

  interface CustomEvents {
    "board:changed": CustomEvent<void>;
    "board:moved": CustomEvent<void>;
    "board:places": CustomEvent<void>;
    "board:row": CustomEvent<{ row: HTMLTableRowElement }>;
    "board:done": CustomEvent<{ said?: string }>;
    "board:result": CustomEvent<{ said: string; done: string[] }>;
    "callboard:theme": CustomEvent<{ dark: boolean }>;
    "htmx:after:request": CustomEvent<{ ctx: HtmxContext }>;
    "htmx:after:swap": CustomEvent<{ ctx: HtmxContext }>;
    "htmx:before:swap": CustomEvent<{ ctx: HtmxContext; tasks: HtmxTask[] }>;
    "htmx:config:request": CustomEvent<{ ctx: HtmxContext }>;
    "htmx:error": CustomEvent<{ ctx?: HtmxContext }>;
    "htmx:finally:request": CustomEvent<{ ctx: HtmxContext }>;
    "htmx:response:error": CustomEvent<{ ctx?: HtmxContext }>;
    "htmx:sse:after:connection": CustomEvent<{ connection: HtmxConnection }>;
    "htmx:sse:before:connection": CustomEvent<{ connection: HtmxConnection }>;
    "htmx:sse:before:message": CustomEvent<{ message: HtmxMessage; waitUntil(work: Promise<unknown>): void }>;
    "htmx:sse:close": CustomEvent<unknown>;
    "htmx:sse:error": CustomEvent<{ status?: number }>;
    /** Messages of `/board/stream` that htmx passes on. */
    changed: CustomEvent<{ data: string }>;
    moved: CustomEvent<{ data: string }>;
  }

  interface DocumentEventMap extends CustomEvents {}
  interface HTMLElementEventMap extends CustomEvents {}

  /** Chromium's offer to install the page. */
  interface BeforeInstallPromptEvent extends Event {
    prompt(): Promise<unknown>;
  }
  interface WindowEventMap {
    beforeinstallprompt: BeforeInstallPromptEvent;
  }

  interface Answer {
    ok: boolean;
    status: number;
    body: unknown;
  }

  /** What `static/app.js` gives to every page. */
  interface Callboard {
    at(address: string): string;
    csrfToken(): string;
    send(method: string, url: string, body?: unknown): Promise<Answer>;
    toLogin(): void;
    isDark(): boolean;
  /** `light`, `dark`, or null for the system's theme. */
  chooseTheme(chosen: string | null): void;
  }

  var callboard: Callboard;
  var htmx: Htmx;
  var uPlot: typeof import("uplot");
  var SwaggerUIBundle: (options: Record<string, unknown>) => void;
  interface Window {
    L?: typeof Leaflet;
  }
}
