"""The tables for Piccolo: names, types, nullability.

Keys over several columns, foreign keys, indexes, CHECKs and storage settings are only in the migrations, as SQL.
`driver_messages` has the key (driver_id, seq) there.
"""

from typing import Any, Final

from piccolo.columns import (
    JSONB,
    UUID,
    Array,
    BigInt,
    BigSerial,
    Boolean,
    Bytea,
    Column,
    Date,
    DoublePrecision,
    Integer,
    Text,
    Timestamptz,
)
from piccolo.columns.defaults.base import Default
from piccolo.columns.defaults.timestamptz import TimestamptzNow
from piccolo.table import Table


class CurrentTransaction(Default):
    """The number of the transaction that writes the row."""

    @property
    def postgres(self) -> str:
        return "pg_current_xact_id()"

    @property
    def cockroach(self) -> str:
        raise NotImplementedError

    @property
    def sqlite(self) -> str:
        raise NotImplementedError

    def python(self) -> object:
        raise NotImplementedError("only the server knows it")


class Xid8(Column):
    """A transaction's number, 64 bits: never reused."""

    value_type = int

    def __init__(self, default: CurrentTransaction | None = None, **kwargs: Any) -> None:
        self.default = default
        kwargs["default"] = default
        super().__init__(**kwargs)


def _uuid(null: bool = False) -> UUID:
    return UUID(default=None, null=null)


def _text(null: bool = False) -> Text:
    return Text(default=None, null=null)


def _int(null: bool = False) -> Integer:
    return Integer(default=None, null=null)


def _float(null: bool = False) -> DoublePrecision:
    return DoublePrecision(default=None, null=null)


def _texts() -> Array:
    return Array(base_column=Text(), default=None, null=True)


def _at(null: bool = False) -> Timestamptz:
    return Timestamptz(default=None, null=null)


class Driver(Table, tablename="drivers"):
    """A driver: availability, presence, the open offer, the load."""

    id = UUID(primary_key=True, default=None)
    name = _text()
    external_ref = _text(null=True)
    phone = _text(null=True)
    zone = _text()
    capacity = _int()
    created_at = _at()
    availability = _text()
    availability_until = _at(null=True)
    availability_reason = _text(null=True)
    availability_before = _text(null=True)
    last_availability_change = _at()
    session_id = _uuid(null=True)
    session_node = _uuid(null=True)
    socket_lost_at = _at(null=True)
    connected_since = _at(null=True)
    expiries_in_a_row = _int()
    stream_seq = BigInt(default=None)
    open_offer_id = _uuid(null=True)
    open_offer_delivery_id = _uuid(null=True)
    active_count = _int()
    vehicle = _text(null=True)
    tags = _texts()
    active = Boolean(default=True)
    shift_ends_at = _at(null=True)
    active_changed_at = _at(null=True)


class DriverRun(Table, tablename="driver_runs"):
    """The run of a driver: its stops in order, as `RunStop`; empty while they have at most one delivery."""

    driver_id = UUID(primary_key=True, default=None)
    stops = JSONB(default=None)


class DriverInvitation(Table, tablename="driver_invitations"):
    """The unused invitation of a driver, with the hash of its code."""

    driver_id = UUID(primary_key=True, default=None)
    code_hash = _text()
    created_by_type = _text()
    created_by = _text(null=True)
    created_at = _at()
    expires_at = _at()


class DriverDevice(Table, tablename="driver_devices"):
    """A phone or browser on which a driver is signed in until `ended_at`, with hashes of its device tokens.

    All device tokens of a device have the same beginning: `family_hash` is its hash. `token_hash` is the hash of the
    whole newest token.
    """

    id = UUID(primary_key=True, default=None)
    driver_id = _uuid()
    name = _text()
    family_hash = _text()
    token_hash = _text()
    created_at = _at()
    last_used_at = _at()
    ended_at = _at(null=True)
    ended_by_type = _text(null=True)
    ended_by = _text(null=True)
    end_reason = _text(null=True)


class DriverPosition(Table, tablename="driver_positions"):
    """The newest position of a driver, and their last authenticated call. Never locked by the write path."""

    driver_id = UUID(primary_key=True, default=None)
    lat = _float(null=True)
    lon = _float(null=True)
    at = _at(null=True)
    heading = _float(null=True)
    speed_kmh = _float(null=True)
    accuracy_m = _float(null=True)
    last_call_at = _at(null=True)
    still_lat = _float(null=True)
    still_lon = _float(null=True)
    still_since = _at(null=True)


class DriverMessage(Table, tablename="driver_messages"):
    """A numbered message of a driver's stream; `body` is its JSON."""

    driver_id = UUID(primary_key=True, default=None)
    seq = BigInt(default=None)
    body = _text()
    created_at = _at()


class ChatMessage(Table, tablename="chat_messages"):
    """A message between dispatch and a driver; `text` is NULL once it is erased."""

    id = UUID(primary_key=True, default=None)
    driver_id = _uuid()
    by_driver = Boolean(default=None)
    author = _text()
    text = _text(null=True)
    at = _at()
    seen_at = _at(null=True)


class DriverAvailabilityHistory(Table, tablename="driver_availability_history"):
    """Every change of a driver's availability: who did it and why."""

    id = UUID(primary_key=True, default=None)
    driver_id = _uuid()
    from_state = _text()
    to_state = _text()
    reason = _text(null=True)
    actor_id = _text(null=True)
    actor_type = _text()
    timestamp = _at()


class Delivery(Table, tablename="deliveries"):
    """An order to be carried from one point to another."""

    id = UUID(primary_key=True, default=None)
    seller_id = Text(default="")
    seller_order_id = _text()
    store_name = _text()
    zone = _text()
    status = _text()
    pickup_lat = _float()
    pickup_lon = _float()
    pickup_address = _text(null=True)
    dropoff_lat = _float()
    dropoff_lon = _float()
    dropoff_address = _text(null=True)
    prep_seconds = _int()
    price_cents = _int(null=True)
    driver_pay_cents = _int(null=True)
    currency = _text()
    notes = _text(null=True)
    fingerprint = _text()
    dispatch_at = _at()
    created_at = _at()
    unassigned_since = _at(null=True)
    current_offer_id = _uuid(null=True)
    accepted_offer_id = _uuid(null=True)
    offer_acceptance_count = _int()
    widened_at = _at(null=True)
    version = _int()
    pickup_name = _text(null=True)
    pickup_phone = _text(null=True)
    pickup_notes = _text(null=True)
    dropoff_name = _text(null=True)
    dropoff_phone = _text(null=True)
    dropoff_notes = _text(null=True)
    requirements = _texts()
    tip_cents = _int(null=True)
    promised_at = _at(null=True)
    ready_at = _at(null=True)
    held_until = _at(null=True)
    estimated_pickup_at = _at(null=True)
    estimated_delivery_at = _at(null=True)
    over_at = _at(null=True)
    watch_at = _at(null=True)
    risk_since = _at(null=True)
    risk_level = Integer(default=0)
    risk_acknowledged_by = _text(null=True)
    risks = JSONB(default=None, null=True)
    details = JSONB(default=None, null=True)
    posted = JSONB(default=None, null=True)


class DeliverySearch(Table, tablename="delivery_search"):
    """The text for the search of a delivery, written five minutes after it was created. `words` has its texts and phone
    numbers, in lower case; if it is `spelled`, also without the marks on letters.
    """

    delivery_id = UUID(primary_key=True, default=None)
    seller_id = _text()
    store = _text()
    words = _text()
    spelled = Boolean(default=False)


class UnassignedOrder(Table, tablename="unassigned_orders"):
    """The record of a delivery's wait for a driver and of its escalation."""

    delivery_id = UUID(primary_key=True, default=None)
    failure_reason = _text()
    nearest = JSONB(default=None, null=True)
    first_attempt_at = _at()
    last_attempt_at = _at()
    attempt_count = _int()
    escalation_level = _int()
    escalation_status = _text()
    support_ticket_id = _uuid(null=True)
    notification_sent_at = _at(null=True)
    acknowledged_by = _text(null=True)
    acknowledged_at = _at(null=True)
    acknowledgement_note = _text(null=True)


class DriverOffer(Table, tablename="driver_offers"):
    """One delivery, offered to one driver until `expires_at`."""

    id = UUID(primary_key=True, default=None)
    delivery_id = _uuid()
    driver_id = _uuid()
    status = _text()
    attempt = _int()
    offer_payload = JSONB(default=None)
    created_at = _at()
    expires_at = _at()
    received_at = _at(null=True)
    closed_at = _at(null=True)
    closing_reason = _text(null=True)
    accepted_at = _at(null=True)
    rejected_at = _at(null=True)
    rejection_reason = _text(null=True)
    notification_sent_at = _at(null=True)
    notification_method = _text(null=True)
    driver_response_time_ms = _int(null=True)
    auto_accepted = Boolean(default=False)


class Assignment(Table, tablename="assignments"):
    """A delivery in one driver's hands."""

    id = UUID(primary_key=True, default=None)
    delivery_id = _uuid()
    driver_id = _uuid()
    offer_id = _uuid(null=True)
    status = _text()
    source = _text()
    created_at = _at()
    picked_up_at = _at(null=True)
    completed_at = _at(null=True)
    ended_at = _at(null=True)
    end_reason = _text(null=True)
    ended_by = _text(null=True)
    version = _int()
    end_note = _text(null=True)
    arrived_pickup_at = _at(null=True)
    arrived_dropoff_at = _at(null=True)
    failed_at = _at(null=True)
    pickup_due_at = _at(null=True)
    details = JSONB(default=None, null=True)


class Proof(Table, tablename="proofs"):
    """A photo or signature of a handover: `content` was encoded anew, without metadata."""

    id = UUID(primary_key=True, default=None)
    delivery_id = _uuid()
    assignment_id = _uuid()
    kind = _text()
    media_type = _text()
    content = Bytea(default=None)
    created_at = _at()
    object_key = _text(null=True)


class ProofObject(Table, tablename="proof_objects"):
    """An object of the S3-compatible store. From `remove_at` on it is to be removed there."""

    key = Text(primary_key=True, default=None)
    remove_at = _at(null=True)


class Erasure(Table, tablename="erasures"):
    """An admin's request to erase the personal data of a delivery, until that is done."""

    delivery_id = UUID(primary_key=True, default=None)
    requested_at = _at()
    requested_by = _text(null=True)


class SupportTicket(Table, tablename="support_tickets"):
    """A ticket about a delivery that found no driver."""

    id = UUID(primary_key=True, default=None)
    type = _text()
    priority = _text()
    title = _text()
    description = _text()
    delivery_id = _uuid()
    zone = _text()
    action_url = _text()
    status = _text()
    created_at = _at()


class Event(Table, tablename="events"):
    """What happened, append-only: the timeline, the audit, the source of webhooks. Read in order of (xid, id)."""

    id = BigSerial(primary_key=True)
    xid = Xid8(default=CurrentTransaction())
    at = _at()
    type = _text()
    actor_type = _text()
    actor_id = _text(null=True)
    delivery_id = _uuid(null=True)
    driver_id = _uuid(null=True)
    offer_id = _uuid(null=True)
    assignment_id = _uuid(null=True)
    data = JSONB(default=None)


class Webhook(Table, tablename="webhooks"):
    """A customer's address and event types. Only `sender` sends its messages, until `sender_until`."""

    id = UUID(primary_key=True, default=None)
    url = _text()
    events = Array(base_column=Text(), default=None)
    secret = _text()
    active = Boolean(default=True)
    created_by = _text(null=True)
    created_at = Timestamptz(default=TimestamptzNow())
    previous_secret = _text(null=True)
    previous_secret_until = _at(null=True)
    deleted_at = _at(null=True)
    sender = _text(null=True)
    sender_until = _at(null=True)


class WebhookDelivery(Table, tablename="webhook_deliveries"):
    """One message for one webhook, until it is delivered or parked; its id is the `webhook-id` of every attempt.

    Messages of one `key` (a delivery, a driver or an alert) go out in order of `seq`. `body` lacks the message's id.
    """

    id = UUID(primary_key=True, default=None)
    webhook_id = _uuid()
    type = _text()
    body = _text()
    created_at = Timestamptz(default=TimestamptzNow())
    attempts = Integer(default=0)
    next_attempt_at = Timestamptz(default=TimestamptzNow())
    locked_until = _at(null=True)
    delivered_at = _at(null=True)
    parked_at = _at(null=True)
    last_status = _int(null=True)
    last_error = _text(null=True)
    seq = BigSerial()
    key = Text(default="")
    retry_until = _at(null=True)


class WebhookAttempt(Table, tablename="webhook_attempts"):
    """An attempt to send a message: the status of the answer, or the error."""

    id = BigSerial(primary_key=True)
    webhook_delivery_id = _uuid()
    attempt = _int()
    at = _at()
    status = _int(null=True)
    ms = _int()
    error = _text(null=True)
    webhook_id = _uuid(null=True)


class Notice(Table, tablename="notices"):
    """A notice to ops: on every board, and on `channel` if there is one; its status, and who acknowledged it."""

    id = UUID(primary_key=True, default=None)
    kind = _text()
    severity = _text()
    zone = _text()
    delivery_id = _uuid(null=True)
    alert_id = _uuid(null=True)
    text = _text()
    link = _text()
    created_at = _at()
    acknowledged_by = _text(null=True)
    acknowledged_at = _at(null=True)
    channel = _text(null=True)
    attempts = Integer(default=0)
    next_attempt_at = _at(null=True)
    locked_until = _at(null=True)
    sent_at = _at(null=True)
    failed_at = _at(null=True)
    last_error = _text(null=True)


class PushKey(Table, tablename="push_keys"):
    """What signs web push, the same for all nodes: browsers subscribe to its public half."""

    name = Text(primary_key=True, default=None)
    private_key = _text()
    created_at = _at()


class PushSubscription(Table, tablename="push_subscriptions"):
    """A subscribed browser of a driver; valid as long as the token that created it."""

    id = UUID(primary_key=True, default=None)
    driver_id = _uuid()
    endpoint = _text()
    p256dh = _text()
    auth = _text()
    created_at = _at()
    expires_at = _at()
    last_at = _at(null=True)
    last_status = _int(null=True)
    last_error = _text(null=True)
    device_id = _uuid(null=True)


class DriverNotice(Table, tablename="driver_notices"):
    """A push to one subscription: about an offer, until its deadline, or about a message of dispatch."""

    id = UUID(primary_key=True, default=None)
    kind = _text()
    driver_id = _uuid()
    delivery_id = _uuid(null=True)
    offer_id = _uuid(null=True)
    subscription_id = _uuid()
    created_at = _at()
    expires_at = _at()
    attempts = Integer(default=0)
    next_attempt_at = _at(null=True)
    locked_until = _at(null=True)
    sent_at = _at(null=True)
    received_at = _at(null=True)
    failed_at = _at(null=True)
    last_status = _int(null=True)
    last_error = _text(null=True)
    message_id = _uuid(null=True)


class StreamNotice(Table, tablename="stream_notices"):
    """A message of a driver's stream about what others did: when it was sent on a socket, and when it arrived."""

    id = UUID(primary_key=True, default=None)
    kind = _text()
    driver_id = _uuid()
    seq = BigInt(default=None)
    delivery_id = _uuid(null=True)
    text = _text()
    created_at = _at()
    sent_at = _at(null=True)
    received_at = _at(null=True)


class Alert(Table, tablename="alerts"):
    """A number of a zone that exceeded its threshold, until it is back."""

    id = UUID(primary_key=True, default=None)
    kind = _text()
    zone = _text()
    value = _float()
    threshold = _float()
    raised_at = _at()
    resolved_at = _at(null=True)
    acknowledged_by = _text(null=True)
    acknowledged_at = _at(null=True)


class InsightDay(Table, tablename="insight_days"):
    """A finished day of a time zone that was counted. `estimates`: their errors too."""

    id = BigSerial(primary_key=True)
    time_zone = _text()
    since = _at()
    until = _at()
    estimates = Boolean(default=None, null=True)


class InsightCount(Table, tablename="insight_counts"):
    """What was counted of a day in one zone, by the hour, by the seconds that answers took, or by a reason (`part`)."""

    id = BigSerial(primary_key=True)
    time_zone = _text()
    since = _at()
    part = _text()
    zone = _text()
    hour = _at(null=True)
    second = _int(null=True)
    reason = _text(null=True)
    accepted = _int()
    auto_accepted = _int()
    rejected = _int()
    expired = _int()
    answered = _int()
    ms = _float()
    wanted = _int()
    late = _int()


class InsightEstimate(Table, tablename="insight_estimates"):
    """Deliveries of a zone and day whose estimate at this stage was `seconds` earlier than the truth."""

    id = BigSerial(primary_key=True)
    time_zone = _text()
    since = _at()
    zone = _text()
    stage = _text()
    seconds = _int()
    deliveries = _int()


class Zone(Table, tablename="zones"):
    """A zone: `spelling` is the name in orders and drivers, `key` is the same for all its spellings. A zone with a
    description has a name. `version` counts the changes of all descriptions.
    """

    key = Text(primary_key=True, default=None)
    spelling = _text()
    name = _text(null=True)
    shape = JSONB(default=None, null=True)
    helped_by = _texts()
    changed_by = _text(null=True)
    changed_at = _at(null=True)
    version = BigInt(default=None)


class PolicyVersion(Table, tablename="policy"):
    """Every version of the policy; the highest is in force. `additions` has the fields that the previous release does
    not know: it could not read a document with them.
    """

    version = Integer(primary_key=True, default=None)
    document = JSONB(default=None)
    additions = JSONB(default=None, null=True)
    changed_by = _text(null=True)
    reason = _text(null=True)
    created_at = Timestamptz(default=TimestamptzNow())


class CompanySetting(Table, tablename="company_settings"):
    """The value of a setting that an admin set on the screen. The environment overrides it."""

    name = Text(primary_key=True, default=None)
    value = _text()
    changed_by = _text()
    changed_at = _at()


class ReportMail(Table, tablename="report_mails"):
    """The report of a day by mail to one recipient. It is due at `next_attempt_at`, unless it was sent or failed. With
    `tested_by` it is the last test to this recipient.
    """

    id = UUID(primary_key=True, default=None)
    day = Date(default=None)
    recipient = _text()
    created_at = _at()
    attempts = _int()
    next_attempt_at = _at(null=True)
    retry_until = _at()
    sent_at = _at(null=True)
    failed_at = _at(null=True)
    last_error = _text(null=True)
    tested_by = _text(null=True)


class User(Table, tablename="users"):
    """A user of the board. Sessions older than `sessions_valid_from` have ended."""

    id = UUID(primary_key=True, default=None)
    name = _text()
    password_hash = _text()
    role = _text()
    active = Boolean(default=True)
    created_at = Timestamptz(default=TimestamptzNow())
    last_login_at = _at(null=True)
    sessions_valid_from = _at(null=True)


class PersonSession(Table, tablename="sessions"):
    """A login of a person, until `expires_at` or until it is not used for long. Only the hash of the cookie is here."""

    token_hash = Text(primary_key=True, default=None)
    user_id = _uuid()
    created_at = _at()
    seen_at = _at()
    expires_at = _at()
    client = _text(null=True)


class PasswordLink(Table, tablename="password_links"):
    """A link with which a person sets a new password, once, until `expires_at`. Only the hash of its code is here."""

    user_id = UUID(primary_key=True, default=None)
    code_hash = _text()
    created_by = _text()
    expires_at = _at()


class ApiKey(Table, tablename="api_keys"):
    """An order source's API key: only its hash, and its first letters for recognition. With a `seller_id` it is
    bound.
    """

    id = UUID(primary_key=True, default=None)
    name = _text()
    key_hash = _text()
    prefix = _text()
    created_by = _text(null=True)
    created_at = Timestamptz(default=TimestamptzNow())
    last_used_at = _at(null=True)
    revoked_at = _at(null=True)
    seller_id = _text(null=True)


class Node(Table, tablename="nodes"):
    """A node, alive until `expires_at`. `words` is the version of states that its code can read."""

    id = UUID(primary_key=True, default=None)
    name = _text()
    started_at = Timestamptz(default=TimestamptzNow())
    expires_at = _at()
    words = Integer(default=0)


class Lease(Table, tablename="leases"):
    """Which node has a lease, until `expires_at`."""

    name = Text(primary_key=True, default=None)
    holder = _uuid(null=True)
    expires_at = _at(null=True)


TABLES: Final[list[type[Table]]] = [
    found for found in [*vars().values()] if isinstance(found, type) and found.__bases__ == (Table,)
]
"""Every table that is declared here, in this order."""
