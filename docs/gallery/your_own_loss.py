"""
Test your own loss
==================

``phaseret.testing`` draws objects, data and symmetries and says whether a loss treats all
copies of an object alike. Here it finds what is wrong with a window "against ringing".
"""

import matplotlib.pyplot as plt
import torch

import phaseret as pr
from phaseret.testing import assert_batch_is_items, assert_gradients, assert_invariant


def log_loss(estimate, intensity):
    shown = pr.operators.fourier_intensity(estimate, intensity.shape[-2:])
    return (shown.log1p() - intensity.log1p()).square().mean((-2, -1))


def windowed_loss(estimate, intensity):
    n1, n2 = estimate.shape[-2:]
    window = torch.hann_window(n1 + 2)[1:-1, None] * torch.hann_window(n2 + 2)[1:-1]
    return log_loss(estimate * window, intensity)


assert_invariant(log_loss)  # each of these is a test for pytest as it stands
assert_batch_is_items(log_loss)
assert_gradients(log_loss)
try:
    assert_invariant(windowed_loss)
except AssertionError as error:
    print(str(error).splitlines()[0])

# %%
# The same in a picture: a digit is moved across its canvas, and each loss compares it
# with the data of the digit in the middle. All copies have these data. The right loss is
# flat at zero; the windowed one prefers a place, and a network would learn that place.

canvas = torch.zeros(28, 44)
canvas[:, 8:36] = pr.datasets.mnist()[3]
intensity = pr.operators.fourier_intensity(canvas, (64, 96))
places = range(-8, 9)
copies = torch.stack([canvas.roll(place, 1) for place in places])
figure, axis = plt.subplots(figsize=(5, 3), layout="constrained")
for loss in (log_loss, windowed_loss):
    axis.plot(
        places, [float(loss(copy, intensity)) for copy in copies], label=loss.__name__
    )
axis.set(xlabel="shift of the digit in pixels", ylabel="loss")
axis.legend()
plt.show()
