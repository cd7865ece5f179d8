"""The step in PyTorch, as one who knows it writes it.

Real and fake images are one batch in the discriminator's update; fakes for it
are made without a graph. In the generator's update the discriminator is in
`eval`, so that `u` advances once per discriminator update as ours does, and its
parameters ask for no gradients. In the discriminators nothing but spectral
normalization knows the difference.
"""

import torch
from torch.nn import functional
from torch.nn import utils
from torch.nn.utils import parametrizations

import contestants
from contestants import torch_networks

_ADAM = {"default": {}, "fused": {"fused": True}, "foreach": {"foreach": True}}


def build(
    cell,
    threads,
    memory_format="channels_last",
    adam="fused",
    compiled=False,
    as_example=False,
):
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    normalize = utils.spectral_norm if as_example else _normalize(cell)
    pair = torch_networks.build(cell, normalize)
    parameters = tuple(sum(p.numel() for p in n.parameters()) for n in pair)
    layout = getattr(torch, memory_format)
    pair = [network.to(memory_format=layout) for network in pair]
    rate, *betas = cell.adam
    optimizers = [
        torch.optim.Adam(n.parameters(), rate, betas, **_ADAM[adam])
        for n in pair
    ]
    reals = [
        torch.rand(cell.batch_size, *cell.image_shape)
        .mul_(2)
        .sub_(1)
        .permute(0, 3, 1, 2)
        .contiguous(memory_format=layout)
        for _ in range(cell.discriminator_steps)
    ]
    if compiled:
        pair = [torch.compile(network) for network in pair]
    step = _example_step if as_example else _step

    def run(steps):
        for _ in range(steps):
            losses = step(*pair, *optimizers, reals, cell)
        return {name: loss.item() for name, loss in losses.items()}

    return contestants.Built(run, parameters)


def _normalize(cell):
    def normalize(layer):
        return parametrizations.spectral_norm(
            layer, n_power_iterations=cell.power_iterations
        )

    return normalize


def _step(generator, discriminator, g_optimizer, d_optimizer, reals, cell):
    for real in reals:
        with torch.no_grad():
            fake = generator(torch.randn(len(real), 128))
        d_optimizer.zero_grad(set_to_none=True)
        logits = discriminator(torch.cat([real, fake]))
        d_loss = _discriminator_loss(*logits.chunk(2))
        d_loss.backward()
        d_optimizer.step()
    discriminator.eval().requires_grad_(False)
    g_optimizer.zero_grad(set_to_none=True)
    latents = torch.randn(cell.generator_batch_size, 128)
    g_loss = -discriminator(generator(latents)).mean()
    g_loss.backward()
    g_optimizer.step()
    discriminator.train().requires_grad_(True)
    return {"d_loss": d_loss, "g_loss": g_loss}


def _example_step(
    generator, discriminator, g_optimizer, d_optimizer, reals, cell
):
    """The generator first, fakes and reals in two passes, `train` throughout.

    The example takes one real batch for all discriminator updates.
    """

    def zero_grad():
        g_optimizer.zero_grad()
        d_optimizer.zero_grad()

    discriminator.requires_grad_(False)
    zero_grad()
    latents = torch.randn(cell.generator_batch_size, 128)
    g_loss = -discriminator(generator(latents)).mean()
    g_loss.backward()
    g_optimizer.step()
    generator.requires_grad_(False)
    discriminator.requires_grad_(True)
    for _ in reals:
        zero_grad()
        fake = generator(torch.randn(cell.batch_size, 128))
        d_loss = _discriminator_loss(
            discriminator(reals[0]), discriminator(fake)
        )
        d_loss.backward()
        d_optimizer.step()
    generator.requires_grad_(True)
    return {"d_loss": d_loss, "g_loss": g_loss}


def _discriminator_loss(real, fake):
    return functional.relu(1 - real).mean() + functional.relu(1 + fake).mean()
