"""The difference of the mean brightness of fakes to that of held-out real images."""

from study.metrics.core.view import View

NEEDS = frozenset({"has_critic"})
COLUMNS = {
    "brightness": "mean brightness of fakes minus that of held-out real images, 0 to 255",
    "brightness_real": "the same of real training images in place of fakes",
}
REAL = {"brightness": "brightness_real"}


def measure(view: View) -> dict[str, float]:
    fakes, real = view.fakes.float().mean(), view.reference.x.float().mean()
    return {"brightness": float(fakes - real)}
