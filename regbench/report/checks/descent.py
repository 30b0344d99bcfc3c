"""Where a run comes from: all its ancestors are known, and what any of them saw counts for it."""

from __future__ import annotations

from collections.abc import Iterator

from regbench.plugins.registry import registry
from regbench.results import Identity, Result
from regbench.results.lineage import hidden_supervision


def problems(result: Result) -> Iterator[str]:
    """Problems of the descent of one run; each a sentence without its subject."""
    lineage = {name: Identity.model_validate(raw) for name, raw in result.lineage.items()}
    known = {result.run_id: result.identity, **lineage}
    given = result.training.get("weights") or {}
    of_weights = given.get("run_id") if isinstance(given, dict) else None
    wanted = [*result.identity.ancestors, *([of_weights] if of_weights in lineage else [])]
    reached: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name in reached:
            continue
        reached.add(name)
        if name not in lineage:
            yield f"names the ancestor {name}, of which it holds no identity; run it again from that run"
        else:
            wanted += lineage[name].ancestors
    for name in sorted(set(lineage) - reached):
        yield f"holds the identity of {name}, which is no ancestor of it"
    for name in hidden_supervision(result):
        yield f"says that nothing saw labels, but its ancestor {name} did; run it again"
    for name, identity in known.items():
        if identity.supervision != "none":
            continue
        whose = "" if name == result.run_id else f"of its ancestor {name} "
        if identity.strategy is not None and _learns_from_labels(identity.strategy.name):
            yield f"says that nothing {whose}saw labels, but the strategy {identity.strategy.name} learns from them"
        if any(a in lineage and lineage[a].supervision != "none" for a in identity.ancestors) and whose:
            yield f"says that nothing {whose}saw labels, but an ancestor of that one did"
    if result.identity.supervision == "none" and result.identity.registrator.weights_sha256 is not None:
        if not isinstance(given, dict) or given.get("supervision") != "none":
            yield "starts from weights of unknown training, which count as trained with labels; it says none"
        elif of_weights is not None and of_weights not in lineage:
            yield f"starts from weights of run {of_weights}, of which it holds no identity; evaluate it again"


def _learns_from_labels(strategy: str) -> bool:
    """Whether an installed strategy of this name is supervised."""
    component = registry().find("strategy", strategy)
    if component is None:
        return False
    try:
        return str(component.load().supervision) != "none"
    except Exception:  # a plugin that cannot be imported here decides nothing
        return False
