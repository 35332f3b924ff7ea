// The driver's socket: `python -m tests.wire_types` writes this from the AsyncAPI document.

declare namespace Wire {
  interface Accept {
    type: "accept";
    id?: string | null;
    offerId: string;
  }

  interface Reject {
    type: "reject";
    id?: string | null;
    offerId: string;
    reason?: string | null;
    note?: string | null;
  }

  interface Received {
    type: "received";
    id?: string | null;
    offerId: string;
  }

  interface Location {
    type: "location";
    id?: string | null;
    lat: number;
    lon: number;
    heading?: number | null;
    speedKmh?: number | null;
    accuracyM?: number | null;
    at?: string | null;
  }

  interface Arrived {
    type: "arrived";
    id?: string | null;
    assignmentId: string;
    actionId?: string | null;
    at?: string | null;
    sentAt?: string | null;
    lat?: number | null;
    lon?: number | null;
    where: "dropoff" | "pickup";
  }

  interface PickedUp {
    type: "picked_up";
    id?: string | null;
    assignmentId: string;
    actionId?: string | null;
    at?: string | null;
    sentAt?: string | null;
    lat?: number | null;
    lon?: number | null;
  }

  interface Completed {
    type: "completed";
    id?: string | null;
    assignmentId: string;
    actionId?: string | null;
    at?: string | null;
    sentAt?: string | null;
    lat?: number | null;
    lon?: number | null;
    proof?: HandoverProof | null;
  }

  interface HandoverProof {
    pin?: string | null;
    name?: string | null;
    note?: string | null;
  }

  interface Release {
    type: "release";
    id?: string | null;
    assignmentId: string;
    actionId?: string | null;
    at?: string | null;
    sentAt?: string | null;
    lat?: number | null;
    lon?: number | null;
    reason: string;
    note?: string | null;
  }

  interface Failed {
    type: "failed";
    id?: string | null;
    assignmentId: string;
    actionId?: string | null;
    at?: string | null;
    sentAt?: string | null;
    lat?: number | null;
    lon?: number | null;
    reason: string;
    note?: string | null;
    then?: "end" | "return";
  }

  interface TakeBreak {
    type: "take_break";
    id?: string | null;
    durationMinutes: number;
    reason?: string | null;
    extend?: boolean;
  }

  interface EndShift {
    type: "end_shift";
    id?: string | null;
  }

  interface Pause {
    type: "pause";
    id?: string | null;
  }

  interface Resume {
    type: "resume";
    id?: string | null;
  }

  interface Seen {
    type: "seen";
    id?: string | null;
    messageId: string;
  }

  interface Say {
    type: "say";
    id?: string | null;
    text: string;
    actionId?: string | null;
  }

  interface Ping {
    type: "ping";
    id?: string | null;
  }

  interface Hello {
    type: "hello";
    session: string;
    serverTime: string;
    heartbeatSeconds: number;
    seq: number;
    driver: DriverView;
    offers: OfferView[];
    assignments: DrivenAssignmentView[];
    run: RunStopView[] | null;
    messages: ChatMessageView[];
    missed: Numbered[];
    resync: boolean;
  }

  interface DriverView {
    id: string;
    name: string;
    externalRef: string | null;
    phone: string | null;
    zone: string;
    availability: "available" | "offline" | "on_break" | "paused" | "shift_ended";
    availabilityUntil: string | null;
    availabilityReason: string | null;
    busy: boolean;
    activeCount: number;
    capacity: number;
    connected: boolean;
    location: LocationView | null;
    lastSeenAt: string | null;
    vehicle: string | null;
    tags: string[];
    active: boolean;
    shiftEndsAt: string | null;
    deviceCount?: number;
  }

  interface LocationView {
    lat: number;
    lon: number;
    at: string;
  }

  interface OfferView {
    id: string;
    deliveryId: string;
    attempt: number;
    createdAt: string;
    expiresAt: string;
    remainingMs: number;
    payload: OfferPayload;
  }

  interface OfferPayload {
    pickupLocation: Place;
    pickupStoreName: string;
    dropoffLocation: Place;
    estimatedPickupTimeMin: number;
    estimatedDeliveryTime: string;
    estimatedDistanceKm: number;
    estimatedEarningCents: number;
    currency: string;
    sellerOrderId?: string;
    requirements?: string[];
    estimatedTripKm?: number;
    addOn?: AddOn;
    test?: boolean;
  }

  interface Place {
    lat: number;
    lon: number;
    address?: string | null;
    name?: string | null;
    phone?: string | null;
    notes?: string | null;
  }

  interface AddOn {
    extraMinutes: number;
    stops: number;
  }

  interface DrivenAssignmentView {
    id: string;
    deliveryId: string;
    driverId: string;
    status: "ACTIVE" | "CANCELLED" | "COMPLETED" | "FAILED" | "REASSIGNED" | "RELEASED" | "RETURNED";
    source: "accepted" | "auto_accepted" | "manual";
    createdAt: string;
    pickedUpAt: string | null;
    completedAt: string | null;
    endedAt: string | null;
    endReason: string | null;
    version: number;
    endNote: string | null;
    failedAt: string | null;
    arrivedAt: ArrivedView;
    pickup: Place;
    dropoff: Place;
    storeName: string;
    sellerOrderId: string;
    deliveryStatus: "ASSIGNED" | "CANCELLED" | "DELIVERED" | "FAILED" | "PICKED_UP" | "READY" | "RETURNED" | "RETURNING" | "SCHEDULED";
    readyAt: string;
    promisedAt: string | null;
    requirements: string[];
    notes?: string | null;
    driverPayCents?: number | null;
    tipCents?: number | null;
    currency?: string;
    proofRequired?: ("photo" | "pin" | "signature")[];
  }

  interface ArrivedView {
    pickup?: string | null;
    dropoff?: string | null;
  }

  interface RunStopView {
    kind: "dropoff" | "pickup" | "return";
    deliveryId: string;
    assignmentId: string;
    place: Place;
    storeName: string;
    sellerOrderId: string;
    plannedAt: string;
    promisedAt?: string;
    doneAt?: string;
  }

  interface ChatMessageView {
    id: string;
    text: string;
    from: string;
    at: string;
  }

  interface OfferMade {
    type: "offer";
    seq: number;
    offer: OfferView;
  }

  interface OfferClosed {
    type: "offer_closed";
    seq: number;
    offerId: string;
    deliveryId: string;
    outcome: "ACCEPTED" | "EXPIRED" | "REJECTED" | "WITHDRAWN";
    reason?: string;
    assignmentId?: string;
  }

  interface AssignmentChanged {
    type: "assignment";
    seq: number;
    assignment: DrivenAssignmentView;
  }

  interface RunChanged {
    type: "run";
    seq: number;
    stops: RunStopView[];
  }

  interface AvailabilityChanged {
    type: "availability";
    seq: number;
    availability: "available" | "offline" | "on_break" | "paused" | "shift_ended";
    until?: string;
    reason?: string;
  }

  interface MessageWritten {
    type: "message";
    seq: number;
    message: ChatMessageView;
  }

  interface Ack {
    type: "ack";
    id: string;
    result?: Record<string, unknown>;
  }

  interface Error {
    type: "error";
    id?: string;
    code: string;
    message: string;
    nowWith?: "another_driver" | "nobody" | "over";
    missing?: string[];
  }

  interface Pong {
    type: "pong";
    id?: string;
    serverTime: string;
  }

  interface Goodbye {
    type: "goodbye";
    reason: string;
    reconnectAfterMs: number;
  }

  type Numbered = OfferMade | OfferClosed | AssignmentChanged | RunChanged | AvailabilityChanged | MessageWritten;

  type ToDriver = Hello | OfferMade | OfferClosed | AssignmentChanged | RunChanged | AvailabilityChanged | MessageWritten | Ack | Error | Pong | Goodbye;

  type FromDriver = Accept | Reject | Received | Location | Arrived | PickedUp | Completed | Release | Failed | TakeBreak | EndShift | Pause | Resume | Seen | Say | Ping;
}
