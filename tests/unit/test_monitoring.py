"""What is written about the metrics names metrics that exist: the documentation, the dashboard, the alert rules."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from socketserver import errors
from socketserver.chat.domain import SystemClock, UserId
from socketserver.door import connects as guards
from socketserver.door.auth import COOKIE_NAME
from socketserver.door.tcp_connections import CAPS, HEAD_REFUSALS
from socketserver.ops.figures import Reading
from socketserver.ops.metrics import (
    CHANGES,
    CONNECT,
    CONVERSATION_CHANGES,
    END_CODES,
    HANDSHAKE,
    HTTP,
    OK,
    TRANSPORTS,
    UNKNOWN_EVENT,
    Metrics,
)
from socketserver.realtime.engine.intake import Intake, IntakeLimits
from socketserver.realtime.engine.wheel import Wheel
from socketserver.wire.answers import ADMIN_REQUIRED
from socketserver.wire.protocol import ClientEvent
from typing import Any, Final

import promql_parser
import pytest
import yaml
from support.pages import ROOT, anchors, code, section, table
from support.scrape import Scrape

OPERATIONS: Final = ROOT / "docs" / "operations.md"
DASHBOARD: Final = ROOT / "deploy" / "grafana-dashboard.json"
ALERTS: Final = ROOT / "deploy" / "prometheus-alerts.yml"

# Labels that Prometheus itself adds to every series.
TARGET_LABELS: Final = {"instance", "job"}
FOREIGN: Final = {"up"}


INTAKE: Final = Intake(IntakeLimits(), Wheel())


def all_metrics() -> Metrics:
    """Metrics of which every one has at least one series."""
    metrics = Metrics(SystemClock())
    metrics.watch(
        lambda: Reading(
            guard_entries={"users": 1},
            tcp_refused=dict.fromkeys(CAPS, 0),
            heads_refused=dict.fromkeys(HEAD_REFUSALS, 0),
            intake=INTAKE.counts(),
        )
    )
    metrics.refused(HTTP, ADMIN_REQUIRED)
    metrics.ended(UserId("ana"), "replaced")
    return metrics


def samples() -> dict[str, set[str]]:
    """Sample name → its labels."""
    return Scrape(all_metrics().registry.collect()).labels


SAMPLES: Final = samples()
ERRORS: Final = {
    error.code
    for error in vars(errors).values()
    if isinstance(error, type) and issubclass(error, errors.ChatError) and error is not errors.ChatError
}
CODES: Final = {*ERRORS, ADMIN_REQUIRED, *guards._ENGINE_CODES}
VALUES: Final[dict[tuple[str, str], set[str]]] = {
    ("socketserver_ends_total", "code"): set(END_CODES),
    ("socketserver_refusals_total", "code"): CODES,
    ("socketserver_refusals_total", "at"): {HANDSHAKE, CONNECT, HTTP},
    ("socketserver_events_total", "event"): {*ClientEvent, UNKNOWN_EVENT},
    ("socketserver_events_total", "outcome"): {OK, *ERRORS},
    ("socketserver_tcp_refused_total", "cap"): set(CAPS),
    ("socketserver_heads_refused_total", "why"): set(HEAD_REFUSALS),
    ("socketserver_intake_total", "done"): set(INTAKE.counts()),
    ("socketserver_sockets", "transport"): set(TRANSPORTS),
    ("socketserver_changes_total", "kind"): set(CHANGES),
    ("socketserver_conversation_changes_total", "kind"): set(CONVERSATION_CHANGES),
}


# The documentation


def documented() -> dict[str, tuple[str, set[str]]]:
    """Metric → its type and labels, as operations.md has them."""
    rows = table(section(OPERATIONS, "Metrics"), "Metric")
    assert len({row["Metric"] for row in rows}) == len(rows), "a metric is listed twice"
    for row in rows:
        assert row["Meaning"]
        assert row["When to worry"]
    return {code(row["Metric"]): (row["Type"], set(re.findall(r"`(\w+)`", row["Labels"]))) for row in rows}


def real() -> dict[str, tuple[str, set[str]]]:
    found = {}
    for family in all_metrics().registry.collect():
        kind = {"info": "gauge"}.get(family.type, family.type)
        name = family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        found[name] = kind, labels
    return found


def test_every_metric_is_documented_and_nothing_else() -> None:
    """With its type and its labels."""
    assert documented() == real()


def test_metrics_named_anywhere_exist() -> None:
    """No page names a metric that does not exist."""
    for page in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]):
        named = set(re.findall(r"`(socketserver_\w+)`", page.read_text(encoding="utf-8")))
        assert named - {COOKIE_NAME} <= set(real()) | set(SAMPLES), page


@pytest.mark.parametrize("label", ["code", "at", "transport"])
def test_values_named_in_the_documentation_exist(label: str) -> None:
    """The words in a metric's row are values of its labels, or names of other things that exist."""
    settings = re.compile(r"WEBSOCKET_\w+|socketserver_\w+")
    known = {
        "connection_refused",
        "authenticate",
        "send_message",
        "connect_error",
        *(set[str]().union(*VALUES.values())),
        label,
    }
    known |= {name for _, labels in documented().values() for name in labels}
    for row in table(section(OPERATIONS, "Metrics"), "Metric"):
        words = set(re.findall(r"`(\w+)`", row["Meaning"] + row["When to worry"]))
        assert {word for word in words if not settings.fullmatch(word)} <= known


# Queries


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return found


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> Iterator[tuple[str, str]]:
    """(where it stands, the query) of the dashboard and of the alert rules."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"].replace("$__rate_interval", "1m")
    for rule in rules():
        yield rule["alert"], rule["expr"]


QUERIES: Final = list(queries())


def selectors(query: str) -> Iterator[promql_parser.VectorSelector]:
    """Every place where a query names a metric. Raises: ValueError for what is not PromQL."""
    found: list[promql_parser.VectorSelector] = []

    def see(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)

    promql_parser.walk(promql_parser.parse(query), see)
    yield from found


def test_the_reader_of_queries_finds_what_is_wrong() -> None:
    """One that found nothing would hold nothing."""
    (found,) = selectors('sum by (code) (rate(socketserver_ends_total{code=~"replaced|stale"}[5m])) > 1')
    assert found.name == "socketserver_ends_total"
    with pytest.raises(ValueError, match="parenthesis"):
        list(selectors("sum(rate(x[5m])"))


@pytest.mark.parametrize(("title", "query"), QUERIES, ids=[f"{number}" for number in range(len(QUERIES))])
def test_every_query_names_what_exists(title: str, query: str) -> None:
    """Metrics, labels, and the values that labels are compared with."""
    found = list(selectors(query))
    assert found, title
    labels = set(TARGET_LABELS)
    for selector in found:
        assert selector.name in SAMPLES or selector.name in FOREIGN, f"{title}: {selector.name}"
        assert selector.name is not None
        own = SAMPLES.get(selector.name, set()) | TARGET_LABELS
        labels |= own
        for matcher in selector.matchers.matchers:
            assert matcher.name in own, f"{title}: {selector.name} has no label {matcher.name}"
            known = VALUES.get((selector.name, matcher.name))
            if known is not None:
                assert set(matcher.value.split("|")) <= known, f"{title}: {matcher}"
    for names in re.findall(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)", query):
        assert {name.strip() for name in names.split(",")} <= labels, f"{title}: {names}"


def test_every_metric_is_shown_or_watched() -> None:
    """Each is in a query of the dashboard or of an alert: one that nobody looks at is not worth its cost."""
    named = {selector.name for _, query in QUERIES for selector in selectors(query)}
    stems = {re.sub(r"_(bucket|sum|count)$", "", name or "") for name in named}
    # How many authenticate follows from the users; the rest has its panel.
    assert set(real()) - stems == {"socketserver_authentications_total"}


# The dashboard and the rules, beside their queries


def test_the_dashboard_can_be_imported() -> None:
    """Every panel has its place, a title, a datasource that the user chooses, and legends of labels that it has."""
    board = dashboard()
    assert board["schemaVersion"] >= 38, "Grafana 10"
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert "socketserver_build_info" in variables["instance"]["definition"]
    rows = [panel["title"] for panel in board["panels"] if panel["type"] == "row"]
    assert rows == ["People", "Messages", "Latency", "Store", "Guards", "Process"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, f"{panel['title']} lies on another"
        assert max(x for x, _ in cells) < 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"], panel["title"]
            assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel.get("targets", []):
            for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                assert re.search(rf"by \([^)]*\b{label}\b[^)]*\)", target["expr"]), f"{panel['title']}: {label}"
            assert f"{'$'}instance" in target["expr"], f"{panel['title']} ignores the chosen instance"


def test_every_alert_is_explained_and_nothing_else() -> None:
    """In operations.md, in the order of the rules; each rule says how bad it is, what it is, and where to read."""
    explained = [code(row["Alert"]) for row in table(section(OPERATIONS, "Alerts"), "Alert")]
    assert explained == [rule["alert"] for rule in rules()]
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"]["summary"]
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert anchor in anchors(ROOT / Path(page))
        # How long something must last, but for what may not happen once, and for sums over a time of their own.
        assert "for" in rule or "increase(" in rule["expr"], rule["alert"]


def test_an_end_is_a_code_of_the_protocol() -> None:
    """ends_total has every code that session_ended can have."""
    assert set(errors.ENDS) <= set(END_CODES)
