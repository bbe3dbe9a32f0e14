"""`numerai cost`: what the nodes cost a month."""

from __future__ import annotations

import click

from ..factory import Factory
from ..ports import Provider, RunByNumerai
from ..usecases.cost import node_costs, unknown_costs
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
            unknown = unknown_costs(nodes[name], factory.provider_recorded)
            if estimate is not None:
                rows.append((name, "total", f"{estimate.usd:.2f}", estimate.describe()))
                rows += [("", item.what, f"{item.usd:.2f}", item.how) for item in estimate.items]
            elif not unknown:
                rows.append((name, "", "0.00", _free(factory.provider_of(nodes[name]))))
            rows += [(name, f"on {each}", "?", "not known here") for each in unknown]
        render.table(("node", "item", "USD a month", "how it is computed"), rows)
        render.say(f"{total:.2f} USD a month in all.")

    render.result(payload, show)


def _free(provider: Provider) -> str:
    """Why a provider that estimates nothing takes nothing."""
    return "Numerai runs it for nothing" if isinstance(provider, RunByNumerai) else "runs on this machine"
