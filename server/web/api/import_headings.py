"""The headings that people give to columns, in English, German, French and Spanish, and the columns that they mean.

The contract's names come first. What one list has for two columns would be a guess, so no list has that.
"""

import unicodedata
from functools import cache
from typing import Final

from msgspec import Struct

from server.web.api import schemas as s
from server.web.api.import_values import ValueKind, columns_in

_PHONES: Final = (
    "phone, phone number, phone no, mobile, mobile number, cell, cell phone, tel, tel no, telephone, telefon, "
    "telefonnummer, telefonnr, tel nr, handy, handynummer, handy nr, mobil, mobilnummer, téléphone, "
    "numéro de téléphone, portable, teléfono, móvil"
)
_ZONES: Final = "zone, area, region, gebiet, bereich, région, secteur, zona, región"

_DRIVERS: Final = {
    "name": "name, driver, driver name, full name, fahrer, fahrerin, fahrername, nom, livreur, chauffeur, "
    "nom du livreur, "
    "nombre, repartidor, conductor",
    "externalRef": "reference, ref, id, number, no, driver id, driver number, employee number, personalnummer, "
    "nummer, nr, "
    "referenz, référence, matricule, numéro, n°, referencia, número",
    "phone": _PHONES,
    "zone": _ZONES,
    "capacity": "orders at once, capacity, kapazität, capacité, capacidad",
    "vehicle": "vehicle, vehicle type, fahrzeug, véhicule, vehículo",
    "tags": "tags, skills, merkmale, étiquettes, etiquetas",
    "shiftEndsAt": "shift ends, shift end, end of shift, schichtende, fin de service, fin de turno",
}
_DELIVERIES: Final = {
    "sellerOrderId": "number, no, order, order number, order no, order id, reference, nummer, nr, bestellnummer, "
    "bestellnr, bestellung, auftragsnummer, auftragsnr, auftrag, numéro, n°, commande, numéro de commande, "
    "n° de commande, référence, número, pedido, número de pedido",
    "storeName": "store, store name, shop, shop name, restaurant, geschäft, laden, filiale, magasin, boutique, tienda, "
    "restaurante",
    "pickup.address": "address of the store, store address, pickup address, pickup, abholadresse, abholung, "
    "adresse des geschäfts, adresse du magasin, adresse de retrait, adresse d’enlèvement, dirección de la tienda, "
    "dirección de recogida, geschäftsadresse, filialadresse, abholanschrift, adresse magasin",
    "pickup.name": "contact at the store, contact of the store, pickup contact, ansprechpartner im geschäft, "
    "kontakt im geschäft, abholkontakt, contact au magasin, contact du magasin, contacto de la tienda",
    "pickup.phone": "phone of the store, store phone, pickup phone, telefon des geschäfts, téléphone du magasin, "
    "teléfono de la tienda, geschäftstelefon, abholtelefon, telefon der filiale, téléphone magasin",
    "pickup.notes": "note about the pickup, pickup note, pickup notes, abholhinweis, hinweis zur abholung, abholnotiz, "
    "abholnotizen, note de retrait, notes de retrait, consigne de retrait, consigne d’enlèvement",
    "pickup.lat": "store latitude, pickup latitude, pickup lat, breite des geschäfts, breitengrad des geschäfts, "
    "geschäft breite, abholung breite, breite abholung, abholbreite, latitude du magasin, latitude magasin, "
    "latitude de retrait",
    "pickup.lon": "store longitude, pickup longitude, pickup lon, pickup lng, länge des geschäfts, "
    "längengrad des geschäfts, geschäft länge, abholung länge, länge abholung, abhollänge, longitude du magasin, "
    "longitude magasin, longitude de retrait",
    "pickup.at": "position of the store, store position, pickup position, position des geschäfts, abholposition, "
    "koordinaten des geschäfts, position du magasin, coordonnées du magasin",
    "dropoff.address": "address, address of the customer, customer address, delivery address, destination, adresse, "
    "anschrift, lieferadresse, lieferanschrift, kundenadresse, adresse de livraison, adresse du client, dirección, "
    "dirección de entrega, dirección del cliente, adresse des kunden, zieladresse, adresse client",
    "dropoff.name": "customer, name, name of the customer, customer name, recipient, kunde, kundin, kundenname, "
    "empfänger, client, nom, nom du client, destinataire, cliente, nombre, nombre del cliente, destinatario, "
    "name des kunden, empfängerin",
    "dropoff.phone": "phone of the customer, customer phone, telefon des kunden, téléphone du client, "
    "teléfono del cliente, kundentelefon, kundentelefonnummer, kundenhandy, telefon kunde, telefonnummer des kunden, "
    "téléphone client, téléphone de livraison, "
    f"{_PHONES}",
    "dropoff.notes": "note about the address, delivery note, delivery notes, delivery instructions, lieferhinweis, "
    "consigne de livraison, instructions de livraison, instrucciones de entrega, hinweis zur adresse, "
    "lieferhinweise, liefernotiz, liefernotizen, hinweis zur lieferung, note de livraison, notes de livraison, "
    "consignes de livraison",
    "dropoff.lat": "latitude, lat, breitengrad, breite, latitud, breite des kunden, breitengrad des kunden, "
    "breite kunde, kunde breite, lieferbreite, latitude du client, latitude client",
    "dropoff.lon": "longitude, lon, lng, long, längengrad, länge, longitud, länge des kunden, längengrad des kunden, "
    "länge kunde, kunde länge, lieferlänge, longitude du client, longitude client",
    "dropoff.at": "position, position of the customer, coordinates, gps, koordinaten, coordonnées, coordenadas, "
    "posición, position des kunden, lieferposition, position du client",
    "zone": _ZONES,
    "dispatchAt": "search starts, start of the search, suche ab, suche beginnt, beginn der suche, suchbeginn, "
    "début de la recherche, recherche à partir de",
    "promisedAt": "time, delivery time, deliver by, promised, promised at, promised time, due, due at, zeit, uhrzeit, "
    "lieferzeit, lieferung bis, zugesagt, heure, heure de livraison, hora, hora de entrega, liefern bis, "
    "zu liefern bis, liefertermin, lieferzeitpunkt, zugesagt bis, zugesagte zeit, livrer avant, à livrer avant, "
    "livraison avant, promis, promis pour, heure promise, entregar antes de",
    "priceCents": "price, total, amount, order total, preis, betrag, summe, gesamtbetrag, prix, montant, precio, "
    "importe, bestellwert, gesamtpreis, prix total",
    "driverPayCents": "driver’s pay, driver pay, pay, fahrerlohn, rémunération du livreur, pago del repartidor, "
    "fahrervergütung, vergütung, lohn des fahrers, rémunération, paie du livreur",
    "tipCents": "tip, trinkgeld, pourboire, propina",
    "currency": "currency, währung, devise, moneda",
    "notes": "note for the driver, note, notes, comment, comments, remark, remarks, bemerkung, bemerkungen, notiz, "
    "hinweis, kommentar, remarque, commentaire, nota, notas, observaciones, notizen, anmerkung, anmerkungen, "
    "hinweise, kommentare, hinweis für den fahrer, notiz für den fahrer, remarques, commentaires, "
    "notes pour le livreur, note pour le livreur",
    "requirements": "required tags, requirements, tags, erforderliche merkmale, anforderungen, merkmale, exigences, "
    "étiquettes requises, étiquettes, etiquetas",
    "prepSeconds": "preparation in seconds, zubereitung in sekunden, vorbereitung in sekunden, préparation en secondes",
    "proofRequired": "proof, proof required, nachweis, nachweise, preuve, preuves",
    "pin": "pin of the customer, kunden-pin, pin du client",
    "sellerId": "seller, verkäufer, händler, vendeur",
}


def heading_key(text: str) -> str:
    """The letters and digits of a heading, without case and accents: `Bestell-Nr.` is `bestellnr`, and so is
    `BESTELL NR`.
    """
    plain = unicodedata.normalize("NFKD", text.casefold().replace("°", ""))
    return "".join(sign for sign in plain if sign.isalnum())


class Column(Struct, frozen=True):
    """A column by the contract's name, and how its cells are read; without a kind if it is unknown or has no heading.
    `pickup.at` and `dropoff.at` are positions in one cell.
    """

    name: str
    kind: ValueKind | None


NO_COLUMN: Final = Column("", None)
AMOUNTS: Final = frozenset({"priceCents", "driverPayCents", "tipCents"})
"""Under headings of people, these are in whole units of the currency, such as 24.90."""


def headings(kind: type[Struct]) -> list[tuple[str, str]]:
    """The columns of a request, each with the headings that it may have."""
    plain = _DRIVERS if kind is s.NewDriver else _DELIVERIES
    return [(name, plain.get(name, "")) for name in dict.fromkeys([*columns_in(kind), *plain])]


@cache
def _known(kind: type[Struct]) -> dict[str, Column]:
    """The columns of a request by the keys of their headings."""
    kinds = columns_in(kind)
    found: dict[str, Column] = {}
    for name, text in (_DRIVERS if kind is s.NewDriver else _DELIVERIES).items():
        own: ValueKind = "position" if name.endswith(".at") else "amount" if name in AMOUNTS else kinds[name]
        found |= {heading_key(heading): Column(name, own) for heading in text.split(", ")}
    return found | {heading_key(name): Column(name, own) for name, own in kinds.items()}


def column_under(heading: str, kind: type[Struct]) -> Column:
    """The column of a request that a heading means."""
    return _known(kind).get(heading_key(heading)) or Column(heading, None)
