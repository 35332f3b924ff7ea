"""Addresses to positions, by a geocoder that the settings name: Nominatim, Photon or Pelias."""
