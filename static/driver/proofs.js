// Photos and signatures of a handover: made small enough on the phone, and uploaded.

const LIMIT_BYTES = 5 * 1024 * 1024; // the server's
const EDGE = 2048;
const ANSWER_MS = 60_000;

/**
 * The picture itself, or a smaller one if it is too large. Throws what the browser throws for no picture.
 * @param {Blob} file
 * @returns {Promise<Blob>}
 */
const smaller = async (file) => {
  if (file.size <= LIMIT_BYTES) return file;
  const image = await createImageBitmap(file);
  const scale = Math.min(1, EDGE / Math.max(image.width, image.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(image.width * scale);
  canvas.height = Math.round(image.height * scale);
  canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve, reject) => {
    canvas.toBlob((made) => (made ? resolve(made) : reject(new Error())), "image/jpeg", 0.85);
  });
};

/**
 * Whether the server has the picture now. The same `actionId` again is the same proof.
 * @param {{driverId: string, id: string}} assignment
 * @param {string} kind
 * @param {Blob} file
 * @param {string} token
 * @param {string} actionId
 * @returns {Promise<boolean>}
 */
export const upload = async ({ driverId, id }, kind, file, token, actionId) => {
  try {
    const body = await smaller(file);
    const response = await fetch(`/drivers/${driverId}/assignments/${id}/proofs?${new URLSearchParams({ kind, actionId })}`, {
      method: "POST",
      headers: { Authorization: `Bearer ${token}` },
      body,
      signal: AbortSignal.timeout?.(ANSWER_MS),
    });
    return response.ok;
  } catch {
    return false; // no network, no answer, or no picture
  }
};
