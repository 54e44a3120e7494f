"""Models of vectors, sets, sequences and tokens, of small width."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

__all__ = ["MODELS"]

MAP = (16, 16, 3)


class TabularMLP(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.BatchNorm(use_running_average=True)(x)
        for width in (24, 16):
            x = nn.Dense(width)(x)
            x = nn.selu(nn.BatchNorm(use_running_average=True)(x))
        return nn.Dense(1)(x)[:, 0]


class MixerBlock(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = nn.LayerNorm()(x).swapaxes(1, 2)
        y = nn.Dense(x.shape[1])(nn.gelu(nn.Dense(8)(y)))
        x = x + y.swapaxes(1, 2)
        return x + nn.Dense(x.shape[2])(nn.gelu(nn.Dense(16)(nn.LayerNorm()(x))))


class Mixer(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Conv(8, (4, 4), strides=(4, 4))(x)
        x = x.reshape(x.shape[0], -1, x.shape[-1])
        for _ in range(2):
            x = MixerBlock()(x)
        return nn.Dense(10)(nn.LayerNorm()(x).mean(axis=1))


class EncoderBlock(nn.Module):
    heads: int = 2

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        y = nn.LayerNorm()(x)
        x = x + nn.MultiHeadAttention(self.heads, deterministic=True)(y, y, mask=mask)
        y = nn.gelu(nn.Dense(2 * x.shape[-1])(nn.LayerNorm()(x)))
        return x + nn.Dense(x.shape[-1])(y)


class ViT(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Conv(8, (4, 4), strides=(4, 4))(x)
        x = x.reshape(x.shape[0], -1, 8)
        token = self.param("token", nn.initializers.zeros, (1, 1, 8))
        x = jnp.concatenate([jnp.tile(token, (x.shape[0], 1, 1)), x], axis=1)
        x = x + self.param("positions", nn.initializers.normal(0.02), (1, x.shape[1], 8))
        for _ in range(2):
            x = EncoderBlock()(x)
        return nn.Dense(10)(nn.LayerNorm()(x)[:, 0])


def windows(x: jax.Array, size: int) -> jax.Array:
    n, h, w, c = x.shape
    x = x.reshape(n, h // size, size, w // size, size, c)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(-1, size * size, c)


def joined(x: jax.Array, size: int, h: int, w: int) -> jax.Array:
    x = x.reshape(-1, h // size, w // size, size, size, x.shape[-1])
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(-1, h, w, x.shape[-1])


class SwinBlock(nn.Module):
    size: int = 2
    shift: int = 0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        h, w, c = x.shape[1:]
        y = jnp.roll(nn.LayerNorm()(x), (-self.shift, -self.shift), (1, 2))
        y = windows(y, self.size)
        query, key, value = jnp.split(nn.Dense(3 * c)(y), 3, axis=-1)
        bias = self.param("bias", nn.initializers.zeros, (self.size**2, self.size**2))
        scores = jnp.einsum("bic,bjc->bij", query, key) / c**0.5 + bias
        y = nn.Dense(c)(jnp.einsum("bij,bjc->bic", nn.softmax(scores), value))
        y = jnp.roll(joined(y, self.size, h, w), (self.shift, self.shift), (1, 2))
        x = x + y
        return x + nn.Dense(c)(nn.gelu(nn.Dense(2 * c)(nn.LayerNorm()(x))))


class Swin(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Conv(8, (4, 4), strides=(4, 4))(x)
        x = SwinBlock(shift=1)(SwinBlock()(x))
        n, h, w, c = x.shape  # merge neighbours
        x = x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5)
        x = nn.Dense(12, use_bias=False)(nn.LayerNorm()(x.reshape(n, h // 2, w // 2, 4 * c)))
        x = SwinBlock()(x)
        return nn.Dense(10)(nn.LayerNorm()(x).mean(axis=(1, 2)))


class GatedMLP(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Dense(12)(x)
        for _ in range(2):
            y = nn.RMSNorm()(x)
            x = x + nn.Dense(12)(nn.glu(nn.Dense(32)(y)))
            x = x + nn.Dense(12)(nn.silu(nn.Dense(16)(y)) * nn.Dense(16)(y))
        return nn.Dense(5)(x)


class RowGRU(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        rows = x.reshape(*x.shape[:2], -1)
        return nn.Dense(10)(nn.RNN(nn.GRUCell(8))(rows)[:, -1])


class RowLSTM(nn.Module):
    """In both directions."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        rows = x.reshape(*x.shape[:2], -1)
        both = nn.Bidirectional(nn.RNN(nn.LSTMCell(6)), nn.RNN(nn.LSTMCell(6)))(rows)
        return nn.Dense(10)(both.mean(axis=1))


class ScannedEncoder(nn.Module):
    depth: int = 3

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        class Layer(nn.Module):
            @nn.compact
            def __call__(self, x: jax.Array, _: None) -> tuple[jax.Array, None]:
                return EncoderBlock()(x), None

        x = nn.Conv(8, (4, 4), strides=(4, 4))(x).reshape(x.shape[0], -1, 8)
        stack = nn.scan(
            nn.remat(Layer), variable_axes={"params": 0}, split_rngs={"params": True},
            length=self.depth,
        )  # fmt: skip
        return nn.Dense(10)(stack()(x, None)[0].mean(1))


class TCN(nn.Module):
    """Causal dilated convolutions with gates, as in WaveNet."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x, total = nn.Conv(6, (1,))(x), 0.0
        for rate in (1, 2, 4, 8):
            y = nn.Conv(12, (2,), kernel_dilation=(rate,), padding="CAUSAL")(x)
            y = jnp.tanh(y[..., :6]) * nn.sigmoid(y[..., 6:])
            total = total + nn.Conv(6, (1,))(y)
            x = x + nn.Conv(6, (1,))(y)
        return nn.Conv(3, (1,))(nn.relu(total))


class DeepSet(nn.Module):
    """Attention pooling over the points of a set, with their maximum beside it."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for width in (12, 12):
            x = nn.relu(nn.Dense(width)(x))
        weights = nn.softmax(nn.Dense(1)(jnp.tanh(nn.Dense(8)(x))), axis=1)
        x = jnp.concatenate([(weights * x).sum(1), x.max(axis=1)], axis=-1)
        return nn.Dense(4)(nn.relu(nn.Dense(12)(x)))


class Perceiver(nn.Module):
    """Learned queries attend to pixels."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.LayerNorm()(nn.Dense(8)(x.reshape(x.shape[0], -1, x.shape[-1])))
        latents = self.param("latents", nn.initializers.normal(1.0), (4, 8))
        z = jnp.broadcast_to(latents, (x.shape[0], 4, 8))
        for _ in range(2):
            z = z + nn.MultiHeadDotProductAttention(2)(nn.LayerNorm()(z), x)
            z = z + nn.Dense(8)(nn.gelu(nn.Dense(16)(nn.LayerNorm()(z))))
        return nn.Dense(10)(z.mean(1))


class KAN(nn.Module):
    """Sums of learned polynomials of each entry (Chebyshev)."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for width in (10, 5):
            x = jnp.tanh(x)
            basis = [jnp.ones_like(x), x]
            for _ in range(3):
                basis.append(2 * x * basis[-1] - basis[-2])
            shape = (x.shape[-1], width, len(basis))
            weights = self.param(f"weights_{width}", nn.initializers.normal(0.3), shape)
            x = jnp.einsum("bid,iod->bo", jnp.stack(basis, axis=-1), weights)
        return x


class TokenClassifier(nn.Module):
    """Causal transformer over tokens that come as one-hot rows."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        table = self.param("table", nn.initializers.normal(1.0), (x.shape[-1], 8))
        y = jnp.einsum("btv,vd->btd", x, table)
        angles = jnp.arange(x.shape[1])[:, None] / 10.0 ** (jnp.arange(4) / 2)
        y = y + jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
        mask = nn.make_causal_mask(jnp.ones(x.shape[:2]))
        for _ in range(2):
            y = EncoderBlock()(y, mask)
        return jnp.einsum("btd,vd->btv", nn.LayerNorm()(y), table)


class FourierMixer(nn.Module):
    """Mixes by a Fourier transform in place of attention."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Dense(8)(x)
        for _ in range(2):
            x = nn.LayerNorm()(x + jnp.fft.fft2(x, axes=(1, 2)).real / 8)
            x = x + nn.Dense(8)(nn.gelu(nn.Dense(16)(x)))
        return nn.Dense(5)(x.mean(1))


MODELS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "tabular MLP": (TabularMLP(), (12,)),
    "MLP-Mixer": (Mixer(), MAP),
    "ViT": (ViT(), MAP),
    "Swin": (Swin(), MAP),
    "gated MLP": (GatedMLP(), (10,)),
    "GRU over rows": (RowGRU(), (8, 8, 1)),
    "LSTM in both directions": (RowLSTM(), (6, 8, 1)),
    "scanned transformer": (ScannedEncoder(), MAP),
    "dilated TCN": (TCN(), (32, 2)),
    "set with attention pooling": (DeepSet(), (9, 3)),
    "Perceiver": (Perceiver(), (6, 6, 3)),
    "KAN": (KAN(), (8,)),
    "tokens, one-hot": (TokenClassifier(), (7, 6)),
    "Fourier mixer": (FourierMixer(), (8, 6)),
}
