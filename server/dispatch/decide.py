"""`decide`: one pure answer to any command. It reads the world and never changes it."""

from collections.abc import Callable
from typing import Any

from server.dispatch import (
    alerts,
    availability,
    chat,
    deliveries,
    driver_actions,
    drivers,
    holds,
    manual_assignment,
    offers,
    risks,
    zone_changes,
)
from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch import refusals as r
from server.dispatch.decided import Decided
from server.dispatch.policy import with_version
from server.dispatch.world import NotThere, World


def change_policy(command: c.ChangePolicy, world: World) -> Decided | r.Refusal:
    """The whole document, made from the version in force; it becomes the next version."""
    if command.policy.version != world.policy.version:
        return r.VERSION_CHANGED
    policy = with_version(command.policy, world.policy.version + 1)
    changed = e.PolicyChanged(at=world.now, actor=command.actor, policy=policy, reason=command.reason)
    return Decided((changed,))


_RULES: dict[type, Callable[[Any, World], Decided | r.Refusal]] = {
    c.CreateDelivery: deliveries.create_delivery,
    c.ChangeDelivery: deliveries.change_delivery,
    c.MarkReady: deliveries.mark_ready,
    c.DelayDelivery: deliveries.delay_delivery,
    c.RestoreDelivery: deliveries.restore_delivery,
    c.RetryDelivery: deliveries.retry_delivery,
    c.DispatchDelivery: deliveries.dispatch_delivery,
    c.OfferDelivery: offers.offer_delivery,
    c.HoldDelivery: holds.hold_delivery,
    c.EndHold: holds.end_hold,
    c.NoteFailedSearch: deliveries.note_failed_search,
    c.AcceptOffer: offers.accept_offer,
    c.RejectOffer: offers.reject_offer,
    c.ConfirmReceipt: offers.confirm_receipt,
    c.ExpireOffer: offers.expire_offer,
    c.Arrive: driver_actions.arrive,
    c.PickUp: driver_actions.pick_up,
    c.Complete: driver_actions.complete,
    c.CheckPin: driver_actions.check_pin,
    c.Release: driver_actions.release,
    c.Fail: driver_actions.fail,
    c.AddProof: driver_actions.add_proof,
    c.ReleaseGone: driver_actions.release_gone,
    c.CancelDelivery: deliveries.cancel_delivery,
    c.AssignDelivery: manual_assignment.assign_delivery,
    c.Reassign: manual_assignment.reassign,
    c.Escalate: deliveries.escalate,
    c.Acknowledge: deliveries.acknowledge,
    c.RegisterDriver: drivers.register_driver,
    c.ChangeDriver: drivers.change_driver,
    c.DeactivateDriver: drivers.deactivate_driver,
    c.ReactivateDriver: drivers.reactivate_driver,
    c.ConnectDriver: availability.connect_driver,
    c.DisconnectDriver: availability.disconnect_driver,
    c.SeeDriver: availability.see_driver,
    c.LapsePresence: availability.lapse_presence,
    c.TakeBreak: availability.take_break,
    c.EndBreak: availability.end_break,
    c.EndShift: availability.end_shift,
    c.Pause: availability.pause,
    c.Resume: availability.resume,
    c.SetAvailability: availability.set_availability,
    c.SendMessage: chat.send_message,
    c.Say: chat.say,
    c.SeeMessage: chat.see_message,
    c.RaiseRisk: risks.raise_risk,
    c.ClearRisk: risks.clear_risk,
    c.EscalateRisk: risks.escalate_risk,
    c.RaiseAlert: alerts.raise_alert,
    c.ResolveAlert: alerts.resolve_alert,
    c.AcknowledgeAlert: alerts.acknowledge_alert,
    c.ChangeZone: zone_changes.change_zone,
    c.RemoveZone: zone_changes.remove_zone,
    c.ChangePolicy: change_policy,
}


def decide(command: c.Command, world: World) -> Decided | r.Refusal:
    """The events of a command, or its refusal. Raises NeedsRows if the command needs rows that are not locked."""
    try:
        return _RULES[type(command)](command, world)
    except NotThere:
        return r.NOT_FOUND
