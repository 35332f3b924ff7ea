// The global scopes of workers. The library of types has them as interfaces, not as the scope of a script.

declare const registration: ServiceWorkerRegistration;
declare const clients: Clients;
declare function skipWaiting(): Promise<void>;

interface WorkerEvents extends Omit<ServiceWorkerGlobalScopeEventMap, "pushsubscriptionchange"> {
  connect: MessageEvent; // of a shared worker
  pushsubscriptionchange: PushSubscriptionChangeEvent;
}

interface PushSubscriptionChangeEvent extends ExtendableEvent {
  readonly newSubscription?: PushSubscription | null;
  readonly oldSubscription?: PushSubscription | null;
}

declare function addEventListener<Name extends keyof WorkerEvents>(
  name: Name,
  listener: (event: WorkerEvents[Name]) => void,
): void;
