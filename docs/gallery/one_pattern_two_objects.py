"""
Two images, one pattern: a certificate of uniqueness
====================================================

``certify`` proves that an object is the only one with its data, or lists the others. Most
images are; one of equal particles is not, since all particles can be turned where they
are.
"""

import matplotlib.pyplot as plt
import torch

import phaseret as pr

particle = torch.tensor(
    [[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 1, 0], [1, 0, 0, 0], [1, 0, 0, 0]]
)
image = torch.zeros(22, 20)
for y, x in ((2, 3), (9, 12), (14, 5)):
    image[y : y + 5, x : x + 4] += particle

print("a digit:", pr.symmetry.certify(pr.datasets.mnist()[0]))
certificate = pr.symmetry.certify(image)
print("three letters:", certificate)

# %%
# In the rival the letters keep their look and their places are turned by half a turn. No
# iteration can tell these two apart, with any residual and any number of starts that
# agree. Only knowing more can, such as the shape of a particle. More: :doc:`/unique`.

rival = certificate.rivals[0][0]
both = pr.operators.fourier_intensity(torch.stack([image, rival]), (44, 40), centered=True)
figure, axes = plt.subplots(2, 2, figsize=(4, 4), layout="constrained")
for column, obj, intensity, name in zip(
    axes.T, (image, rival), both, ("the image", "its rival"), strict=True
):
    column[0].imshow(obj.numpy(), cmap="gray")
    column[0].set_title(name)
    column[1].imshow(intensity.sqrt().numpy(), cmap="viridis")
    column[1].set_title("its pattern")
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])
plt.show()
