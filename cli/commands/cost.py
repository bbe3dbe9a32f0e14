"""`numerai cost`: what the nodes cost a month."""

from __future__ import annotations

import click

from ..factory import Factory
from ..ports import NotHere, Provider, RunByNumerai
from ..usecases.cost import node_costs
from ..usecases.resolve import first_steps
from .options import output_options


@click.command()
@output_options
@click.pass_obj
def cost(factory: Factory) -> None:
    """Estimate what every node costs a month."""
    nodes = factory.store.nodes()
    costs = node_costs(nodes, factory.provider_recorded)
    total = sum(estimate.usd for estimate in costs.values() if estimate)
    payload = {
        "usd_a_month": round(total, 4),
        "nodes": {
            name: None
            if estimate is None
            else {
                "usd_a_month": estimate.usd,
                "items": [{"what": item.what, "usd_a_month": item.usd, "how": item.how} for item in estimate.items],
            }
            for name, estimate in costs.items()
        },
    }
    render = factory.render

    def show() -> None:
        if not costs:
            render.say(f"No node is configured, so nothing costs anything. Next: {first_steps(factory.store)}")
            return
        rows = []
        for name, estimate in costs.items():
            if estimate is None:
                rows.append((name, "", *_free(factory.provider_of(nodes[name]))))
                continue
            rows.append((name, "total", f"{estimate.usd:.2f}", estimate.describe()))
            rows += [("", item.what, f"{item.usd:.2f}", item.how) for item in estimate.items]
        render.table(("node", "item", "USD a month", "how it is computed"), rows)
        render.say(f"{total:.2f} USD a month in all.")

    render.result(payload, show)


def _free(provider: Provider) -> tuple[str, str]:
    """What a provider takes that estimates nothing, and why."""
    if isinstance(provider, NotHere):
        return "?", "not known here"
    return "0.00", "Numerai runs it for nothing" if isinstance(provider, RunByNumerai) else "runs on this machine"
