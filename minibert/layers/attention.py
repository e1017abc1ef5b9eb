"""Multi-head self-attention: K small attentions side by side, each in its own subspace."""

from typing import Any, NamedTuple

import numpy as np

from minibert.functional.attention import attention_backward, attention_forward
from minibert.functional.embedding import gather_backward, gather_forward
from minibert.functional.linear import linear_backward, linear_forward
from minibert.layers.base import Site
from minibert.layers.linear import Linear
from minibert.parameters import Views
from minibert.specs import Joined, ParameterSpec, Spec, merged
from minibert.typing import Array, Rng


class SelfAttentionCache(NamedTuple):
    """What `SelfAttention.backward` needs."""

    heads: Any  # an AttentionCache, or that of another `site.attend`
    x: Array  # (B, T, D), the input
    asking: Array | None  # (B, R, D), its tokens that are computed; None: all
    merged: Array  # (B·R, D), the heads' outputs side by side
    site: Site


class SelfAttention:
    """Queries from some tokens, keys and values from all, K heads, and a linear map at the end.

        out = linear(concat_k attention(Q_k, K_k, V_k))

    Vaswani et al. (2017), section 3.2.2. Query, key and value weights are adjacent, so all three
    are one matmul.

    Args:
        name: of the layer in its scope.
        width: D.
        heads: K; it divides D.
        rate: of the dropout on the attention weights.
    """

    def __init__(self, name: str, width: int, heads: int, rate: float = 0.0):
        self.name, self.width, self.count, self.rate = name, width, heads, rate
        self.roles = Linear(f"{name}.self", width, 3 * width)  # query, key and value
        self.output = Linear(f"{name}.output.dense", width, width)

    def specs(self) -> dict[str, Spec]:
        """Return the declarations of the four maps."""
        roles = [f"{self.name}.self.{role}" for role in ("query", "key", "value")]
        weights, biases = (tuple(f"{role}.{kind}" for role in roles) for kind in ("weight", "bias"))
        return merged(
            self,
            dict.fromkeys(weights, ParameterSpec((self.width, self.width))),
            dict.fromkeys(biases, ParameterSpec((self.width,), init="zeros", decay=False)),
            {self.roles.weight: Joined(weights), self.roles.bias: Joined(biases)},
            self.output.specs(),
        )

    def forward(
        self, params: Views, x: Array, site: Site, rng: Rng | None = None, keep: bool = True
    ) -> tuple[Array, SelfAttentionCache | None]:
        """Let each token at `site.rows` attend to every token of x; see `layers.Layer`."""
        positions, D, attend = site.positions, self.width, site.attend or attention_forward
        roles = self.roles.of(params)  # (3D, D), (3D,)
        if site.rows is None:
            asking = None
            query, key, value = self._project(x, slice(3 * D), *roles)
        else:  # queries from R tokens only, keys and values from all
            asking = gather_forward(x, site.rows)  # (B, R, D)
            (query,) = self._project(asking, slice(D), *roles)
            key, value = self._project(x, slice(D, 3 * D), *roles)
        relative: Array | None = None
        if positions is not None:
            query = positions.turn(query, site.queries, site.tables)
            key = positions.turn(key, site.keys, site.tables)
            relative = positions.scores(site)
        heads, cache = attend(query, key, value, site.mask, relative, self.rate, rng, keep)
        merged = heads.transpose(0, 2, 1, 3).reshape(-1, D)  # (B, K, R, H) -> (B·R, D)
        out, _ = self.output.forward(params, merged)
        out = out.reshape(len(x), -1, D)  # (B·R, D) -> (B, R, D)
        return out, None if cache is None else SelfAttentionCache(cache, x, asking, merged, site)

    def backward(
        self, dout: Array, cache: SelfAttentionCache, params: Views, grads: Views, dsite: Any,
        attend: Any = None,
    ) -> Array:  # fmt: skip
        """Gradient of `forward`: dx (B, T, D); `attend` is that of another `site.attend`."""
        heads_cache, x, asking, merged, site = cache
        positions, (B, T, D), K = site.positions, x.shape, self.count
        R = T if asking is None else asking.shape[1]
        dmerged = self.output.backward(dout.reshape(B * R, D), merged, params, grads)
        # (B·R, D) -> (B, K, R, H)
        dheads = dmerged.reshape(B, R, K, D // K).transpose(0, 2, 1, 3)
        dscores = None if dsite is None else np.empty((B, K, R, T), dout.dtype)
        # The gradients of roles that were projected together lie side by side: (B, ·, n, K, H).
        lengths = [(T, 3)] if asking is None else [(R, 1), (T, 2)]
        dprojected = [np.empty((B, length, n, K, D // K), dout.dtype) for length, n in lengths]
        dquery, dkey, _ = droles = [
            each[:, :, i].transpose(0, 2, 1, 3)  # (B, ·, K, H) -> (B, K, ·, H)
            for each in dprojected for i in range(each.shape[2])
        ]  # fmt: skip
        (attend or attention_backward)(dheads, heads_cache, dscores, droles)
        if positions is not None:
            dquery[...] = positions.turn_backward(dquery, site.queries, site.tables)
            dkey[...] = positions.turn_backward(dkey, site.keys, site.tables)
            if dscores is not None:
                positions.scores_backward(dscores, site, dsite)
        roles = params[self.roles.weight], *self.roles.sums(grads)
        if asking is None:
            return unproject(dprojected[0], x, slice(3 * D), *roles)
        assert site.rows is not None
        dx = unproject(dprojected[1], x, slice(D, 3 * D), *roles)
        dasking = unproject(dprojected[0], asking, slice(D), *roles)
        gather_backward(dasking, site.rows, dx)
        return dx

    def _project(self, x: Array, part: slice, weight: Array, bias: Array | None) -> Array:
        """Map the tokens with one matmul, and cut the result into heads.

        Args:
            x (B, T, D): the tokens.
            part: the rows of n adjacent roles among query, key and value.
            weight (3D, D), bias (3D,): of all three roles; bias None: there is none.

        Returns:
            (n, B, K, T, H).
        """
        B, T, D = x.shape
        own = None if bias is None else bias[part]
        out, _ = linear_forward(x.reshape(B * T, D), weight[part], own)  # (B·T, n·D)
        # (B·T, n·D) -> (n, B, K, T, H)
        return out.reshape(B, T, -1, self.count, D // self.count).transpose(2, 0, 3, 1, 4)


def unproject(dout: Array, x: Array, part: slice, weight: Array, *sums: Array | None) -> Array:
    """Gradient of `SelfAttention._project`, given (B, T, n, K, H) of n roles: dx (B, T, D)."""
    B, T, D = x.shape
    rows, drows = x.reshape(B * T, D), dout.reshape(B * T, -1)  # (B·T, D), (B·T, n·D)
    dweight, dbias = (None if each is None else each[part] for each in sums)
    return linear_backward(drows, rows, weight[part], dweight, dbias).reshape(B, T, D)
