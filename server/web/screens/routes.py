"""The modules of the screens, and a router with all their handlers."""

from typing import Final

from litestar import Router

from server.web.http.every_route import handlers_in
from server.web.screens import (
    account,
    alerts,
    at_risk,
    board,
    board_actions,
    board_bulk,
    board_pages,
    board_steps,
    day_report,
    driver_access,
    driver_form,
    driver_invitations,
    driver_list,
    driver_page,
    imports,
    insights,
    keys,
    login,
    notices,
    order_form,
    order_places,
    orders,
    orders_file,
    orders_for_import,
    policy,
    privacy,
    report_mail,
    tracking,
    unassigned,
    users,
    webhook,
    webhooks,
    zones,
)  # fmt: skip
from server.web.screens.first_run import place_test_order
from server.web.screens.first_run import screen as first_run
from server.web.screens.shell import screens

SCREENS: Final = (
    login, users, driver_page, driver_list, driver_form, driver_access, driver_invitations, board, board_pages,
    board_actions, board_bulk, board_steps, policy, insights, alerts, notices, unassigned, at_risk, webhooks, webhook,
    zones, orders, orders_file, orders_for_import, order_form, order_places, imports, first_run, place_test_order,
    tracking, keys, account, day_report, report_mail, privacy,
)  # fmt: skip


def screen_router() -> Router:
    return screens(handlers_in(SCREENS))
