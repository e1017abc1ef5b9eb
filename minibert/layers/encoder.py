"""The encoder: a stack of blocks."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from minibert.layers.base import Layer, Site
from minibert.layers.positions import Positions
from minibert.parameters import Views
from minibert.specs import Spec, at_depth, merged, prefixed
from minibert.typing import Array, Rng


class EncoderCache(NamedTuple):
    """What `Encoder.backward` needs: the blocks' caches, and the site with its tables."""

    blocks: list[Any]
    site: Site


class Encoder:
    """L blocks in sequence.

    Args:
        blocks: the layers; the same one several times shares its parameters if the scopes do.
        scopes: the prefix of each block's parameters; None: `layer.0.`, `layer.1.`, …
        positions: relates query and key positions in all blocks; None: as in BERT, nothing does.
    """

    def __init__(
        self,
        blocks: Sequence[Layer],
        scopes: Sequence[str] | None = None,
        positions: Positions | None = None,
    ):
        self.blocks = list(blocks)
        self.scopes = [f"layer.{i}." for i in range(len(blocks))] if scopes is None else [*scopes]
        self.positions = positions

    def specs(self) -> dict[str, Spec]:
        """Return the declarations of all blocks, with depths 1 to L, and of the positions."""
        parts = {}
        for depth, (scope, block) in enumerate(zip(self.scopes, self.blocks, strict=True), 1):
            parts[scope] = at_depth(prefixed(scope, block.specs()), depth)  # that of its last use
        positions = {} if self.positions is None else self.positions.specs()
        # Depth 1: a table that the lowest block reads is frozen with it.
        return merged(self, *parts.values(), at_depth(positions, 1))

    def forward(
        self, params: Views, x: Array, site: Site, rng: Rng | None = None, keep: bool = True,
        states: dict[int, Array] | None = None,
    ) -> tuple[Array, EncoderCache]:  # fmt: skip
        """Run the blocks.

        Args:
            params: in this layer's scope.
            x (B, T, D): the embeddings.
            site: of the batch; its `rows` are computed by the last block alone, because the blocks
                below it are read at every token.
            rng: of the dropout; None: no dropout.
            keep: False: no backward follows.
            states: filled with the hidden states whose numbers are its keys, 1 to L; the blocks
                above the largest are not run. None: all blocks are run.

        Returns:
            x (B, T, D), or (B, R, D) of the last block with rows; and the cache.
        """
        if self.positions is not None:
            tables = self.positions.prepare(params, site.keys, x.dtype)
            site = site._replace(positions=self.positions, tables=tables)
        inner, caches = site.at_all_tokens(), []
        last = len(self.blocks)
        for number in range(1, (last if states is None else max(states, default=0)) + 1):
            scope = params.scope(self.scopes[number - 1])
            x, cache = self.blocks[number - 1].forward(
                scope, x, site if number == last else inner, rng, keep
            )
            caches.append(cache)
            if states is not None and number in states:
                states[number] = x
        return x, EncoderCache(caches, site)

    def backward(self, dx: Array, cache: EncoderCache, params: Views, grads: Views) -> Array | None:
        """Gradient of `forward`: dx (B, T, D), or None if the lowest block is frozen."""
        positions, dsite = self.positions, None
        if positions is not None and all(name in grads for name in positions.specs()):
            dsite = positions.zeros(cache.site.tables)
        dbelow: Array | None = dx
        for i in reversed(range(len(self.blocks))):
            views = params.scope(self.scopes[i]), grads.scope(self.scopes[i])
            dbelow = self.blocks[i].backward(dx, cache.blocks[i], *views, dsite)
            if dbelow is None:
                break
            dx = dbelow
        if positions is not None and dsite is not None:
            positions.backward(dsite, cache.site.tables, params, grads)
        return dbelow
