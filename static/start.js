// The checklist of a new installation: this browser's time zone and address are good guesses where nothing is set yet.

const zone = document.querySelector("#time_zone[data-suggest]");
if (zone instanceof HTMLSelectElement) {
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if ([...zone.options].some((option) => option.value === own)) zone.value = own;
}

const address = document.querySelector("#public_url[data-suggest]");
if (address instanceof HTMLInputElement && location.protocol === "https:") address.value = location.origin;
