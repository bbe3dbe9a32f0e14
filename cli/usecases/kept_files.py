"""What the runs of a node have left for later ones, such as trained models, when the node moves."""

from __future__ import annotations

from dataclasses import dataclass

from ..counting import counted, sized
from ..errors import NumeraiError
from ..foreign import one_line
from ..models import Node
from ..ports import HandsOverArtifacts, NotHere, Provider, RunByNumerai

NAMED = 5


@dataclass(frozen=True)
class KeptFiles:
    """The `files` that go along, name -> bytes, and why what there is `stays` behind, if it does."""

    files: dict[str, int]
    stays: str | None = None

    @property
    def in_words(self) -> str:
        """How many, how large, and the first names."""
        names = ", ".join([*map(one_line, sorted(self.files)[:NAMED]), *(["..."] if len(self.files) > NAMED else [])])
        size = sized(sum(self.files.values()))
        return f"{counted(len(self.files), 'file')} ({size}) that its runs have kept: {names}"


def kept_by(node: Node, old: Provider, new: Provider) -> KeptFiles:
    """What runs of a node have kept on its old provider, and whether the new one can be given that."""
    if isinstance(old, NotHere) or old.deployment(node.name) is None:
        return KeptFiles({})
    command = f"numerai node -m {node.name}"
    again = f" They are trained again on {new.name} (`{command} test` does that before a round does);"
    if isinstance(new, RunByNumerai):
        again = f" {new.name} trains nothing;"
    mend = (
        f"Models that its runs have trained and kept on {old.name} do not come along, and are removed there: {{why}}."
        f"{again} a model file of yours goes along with `{command} deploy --model-file FILE`."
    )
    if not isinstance(old, HandsOverArtifacts) or not isinstance(new, HandsOverArtifacts):
        unable = new if isinstance(old, HandsOverArtifacts) else old
        return KeptFiles({}, mend.format(why=f"the provider {unable.name} cannot hand them over"))
    try:
        return KeptFiles({each.name: each.size for each in old.artifacts(node.name)})
    except NumeraiError as error:
        return KeptFiles({}, mend.format(why=f"they cannot be read ({error.message.rstrip('.')})"))
