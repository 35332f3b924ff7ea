// The shared worker that holds the one stream of all tabs.
import { Hub } from "./hub.js";

const hub = new Hub(fetch.bind(globalThis));

addEventListener("connect", ({ ports: [port] }) => {
  if (!port) return;
  port.addEventListener("message", ({ data }) => {
    hub.hear(port, data);
    if (data.bye) port.close();
  });
  port.start();
});
