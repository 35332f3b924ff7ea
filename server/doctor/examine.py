"""All checks, dependencies first."""

from server.current_policy import with_values
from server.doctor.database import check_database, check_nodes, check_retention, how_to_reach
from server.doctor.findings import Finding, bad, note
from server.doctor.index import check_index
from server.doctor.redis import check_redis
from server.doctor.services import check_address, check_mail, check_proofs
from server.doctor.settings import check_files, check_names, check_phones, check_secrets, check_time_zone
from server.doctor.time_service import check_time_service, kernel_state
from server.redis.bus import Bus
from server.settings import Settings
from server.store.company import read_company_settings
from server.store.engine import Database, DatabaseUnreachable


async def examine(settings: Settings, *, fix: bool = False) -> list[Finding]:
    """Run all checks, dependencies first."""
    findings = [*check_secrets(settings), *check_names(), check_files()]
    bus = Bus(settings.redis_url, settings.redis_prefix)
    db = Database(settings.database_url, pool_size=4)
    try:
        redis_findings = await check_redis(bus)
        findings += redis_findings
        try:
            await db.open()
        except DatabaseUnreachable as error:
            return [*findings, bad("database", str(error), how_to_reach(error))]
        database_findings = await check_database(settings, db)
        findings += database_findings
        if any(finding.what == "schema" and not finding.bad for finding in database_findings):
            settings = with_values(settings, await read_company_settings(db.pool))
            findings += await check_address(settings)
            findings += check_phones(settings)
            findings.append(check_time_zone(settings))
            findings += check_time_service(kernel_state())
            findings += await check_mail(settings)
            findings += await check_nodes(db)
            findings.append(await check_retention(settings, db))
            findings += await check_proofs(settings, db)
            if any(finding.bad for finding in redis_findings):
                findings.append(note("index", "not checked, because Redis has a problem"))
            else:
                findings += await check_index(db, bus, fix=fix)
        elif fix:
            findings.append(bad("index", "not rebuilt", "fix the problems above first"))
        return findings
    finally:
        await db.close()
        await bus.close()
