"""What a layer is: its methods, and what a batch tells it.

A layer declares its parameters and has a forward and a backward. It keeps nothing on itself between
calls: the cache is returned and handed back.
"""

from typing import Any, NamedTuple, Protocol

from minibert.parameters import Views
from minibert.specs import Specs
from minibert.typing import Array, Rng


class Site(NamedTuple):
    """What a batch tells every layer.

    Attributes:
        keys (T,): the positions of the tokens.
        mask (B, 1, 1, T): 0 for a token and -inf for padding; None: nothing is padding.
        rows (B, R): the tokens to compute, the query positions; None: all, R = T.
        positions: relates query and key positions in attention; None: nothing does, as in BERT.
        tables: made by `positions.prepare` for this batch.
        attend: a family's attention, or that of batches side by side; None: `attention_forward`.
    """

    keys: Array
    mask: Array | None = None
    rows: Array | None = None
    positions: Any = None  # a `layers.Positions`, whose methods take a site
    tables: Any = None
    attend: Any = None

    @property
    def queries(self) -> Array:
        """The positions of the tokens to compute: (T,), or (B, R) with `rows`."""
        queries: Array = self.keys if self.rows is None else self.keys[self.rows]
        return queries

    def at_all_tokens(self) -> "Site":
        """Return the site with every token to compute."""
        return self._replace(rows=None)


class Layer(Protocol):
    """A block or a sublayer: x (B, T, D) -> (B, T, D), or (B, R, D) at `site.rows`."""

    def specs(self) -> Specs:
        """Return the declarations of the parameters by name, in the order of the layout."""

    def forward(
        self, params: Views, x: Array, site: Site, rng: Rng | None = None, keep: bool = True
    ) -> tuple[Array, Any]:
        """Return out, which the caller may overwrite, and the cache for `backward`.

        Args:
            params: in this layer's scope.
            x (B, T, D): not written to.
            site: of the batch.
            rng: of the dropout; None: no dropout.
            keep: False: no backward follows, so the cache may be None and memory used again.
        """

    def backward(
        self, dout: Array, cache: Any, params: Views, grads: Views, dsite: Any
    ) -> Array | None:
        """Return dx (B, T, D), or None if nothing below learns; adds into `grads` and `dsite`.

        Args:
            dout (B, R, D): the gradient of out.
            cache: of the forward; consumed.
            params, grads: in this layer's scope.
            dsite: the gradient of `site.tables`, of the same form; None: they do not learn.
        """
