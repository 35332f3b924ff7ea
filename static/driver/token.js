// The driver's token: it comes in the fragment of a link, which no server ever sees, and is kept on this device.

const KEY = "callboard.driver.token";
let memory = null; // where storage is forbidden

export const kept = () => {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return memory;
  }
};

export const keep = (token) => {
  memory = token;
  try {
    if (token === null) localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, token);
  } catch {
    // it lasts as long as the page
  }
};

// The token in a link, or alone. Null if there is none.
export const tokenIn = (text) => {
  const found = /(?:[#&]token=|^)([\w-]+\.[\w-]+\.[\w-]+)\s*$/.exec(text.trim());
  return found ? found[1] : null;
};

// Whose it is: the driver's id, null if it does not say.
export const whose = (token) => {
  try {
    return JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"))).sub ?? null;
  } catch {
    return null;
  }
};

// Take it out of the address, so that it is in no history and no screenshot.
export const takeFromAddress = () => {
  const token = tokenIn(location.hash);
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
  if (token) keep(token);
};
