// The shared worker that holds the one stream of all tabs.
import { Hub } from "./hub.js";

const root = location.pathname.replace(/\/static\/.*/, ""); // as in app.js
const hub = new Hub((input, options) => fetch(typeof input === "string" ? root + input : input, options));

addEventListener("connect", ({ ports: [port] }) => {
  if (!port) return;
  port.addEventListener("message", ({ data }) => {
    hub.hear(port, data);
    if (data.bye) port.close();
  });
  port.start();
});
