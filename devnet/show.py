"""How do reports look to a person?"""

from typing import Any

import msgspec

from devnet.scenario import Report
from devnet.sim.simulate import SimReport
from mesh.cli.render import table

__all__ = ["SimOutput", "show_report"]


class SimOutput(msgspec.Struct, frozen=True, kw_only=True):
    """What `mesh devnet sim` answers."""

    name: str
    ok: bool
    hash: str
    figures: dict[str, Any]
    problem: str = ""

    @classmethod
    def of(cls, found: SimReport, cpu_s: float) -> "SimOutput":
        """A history as a report."""
        figures = {name: getattr(found, name) for name in found.__struct_fields__ if name not in ("hash", "violations")}
        figures["invariants"] = "held" if not found.violations else list(found.violations[:20])
        figures["cpu_s"] = round(cpu_s, 2)
        figures["events_per_cpu_s"] = round(found.events / max(cpu_s, 0.001))
        problem = "; ".join(found.violations[:3])
        return cls(name="sim", ok=not found.violations, hash=found.hash, figures=figures, problem=problem)


def show_report(report: Report | SimOutput) -> str:
    """A report as lines."""
    head = f"{report.name}: {'ok' if report.ok else 'NOT OK'}" + (f" ({report.problem})" if report.problem else "")
    if isinstance(report, SimOutput):
        head += f"\nhash {report.hash}"
    rows = [[name, _figure(value)] for name, value in report.figures.items()]
    return head + "\n" + table(["FIGURE", "VALUE"], rows) if rows else head


def _figure(value: Any) -> str:
    if isinstance(value, dict) and "value" in value:
        target = f"   target {value['target']}" if value.get("target") is not None else ""
        return f"{value['value']} {value.get('unit', '')}{target}"
    return str(value)
