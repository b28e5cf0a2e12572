"""Quantizes a tree of parameters, trains its thresholds, and turns it into integers."""

import jax
import jax.numpy as jnp

import flightnn_jax as fl

# Any tree of parameters, made by any library, and something for it to learn.
keys = jax.random.split(jax.random.key(0), 3)
params = {
    "hidden": {"kernel": jax.random.normal(keys[0], (4, 16)) / 2, "bias": jnp.zeros(16)},
    "output": {"kernel": jax.random.normal(keys[1], (16, 2)) / 4, "bias": jnp.zeros(2)},
}
x = jax.random.normal(keys[2], (512, 4))
y = jnp.stack([x[:, 0] * x[:, 1], jnp.abs(x[:, 2])], axis=1)

# Kernels become sums of at most two powers of two. A filter gets the second one only if its
# residual is larger than a threshold, and the thresholds are trained.
spec = fl.make_spec(params, fl.Shift(k=2))
spec = fl.init_thresholds(params, spec, per="filter", value=[0.0, 0.15])


def loss(params, spec):
    q = fl.quantize_params(params, spec)
    hidden = jax.nn.relu(x @ q["hidden"]["kernel"] + q["hidden"]["bias"])
    error = hidden @ q["output"]["kernel"] + q["output"]["bias"] - y
    return jnp.mean(error**2) + fl.residual_group_lasso(params, spec, 1e-3)


@jax.jit
def step(params, spec):  # the gradient reaches weights and thresholds alike
    value, gradient = jax.value_and_grad(loss, argnums=(0, 1))(params, spec)
    return value, *jax.tree.map(lambda v, g: v - 0.1 * g, (params, spec), gradient)


for i in range(401):
    value, params, spec = step(params, spec)
    if i % 100 == 0:
        print(f"step {i:3}  loss {value:.2f}")

print("shifts of the hidden filters:", fl.count_shifts(params, spec)["hidden"]["kernel"].k)
codes = fl.encode_params(params, spec)
print("signs of the first filter:", codes["hidden"]["kernel"].sign[:, :, 0].tolist())
print("its exponents:            ", codes["hidden"]["kernel"].exponent[:, :, 0].tolist())
same = jax.tree.map(jnp.array_equal, fl.decode_params(codes), fl.quantize_params(params, spec))
print("the integers are the network:", all(jax.tree.leaves(same)))
