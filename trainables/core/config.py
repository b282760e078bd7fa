"""Hyperparameters that every variant has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

# Strict types refuse values that would have to be converted: "true" is not a learning rate.
Real = Annotated[float, Field(strict=True)]
Positive = Annotated[float, Field(gt=0, strict=True)]
NotNegative = Annotated[float, Field(ge=0, strict=True)]
Fraction = Annotated[float, Field(ge=0, lt=1, strict=True)]


class Config(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Hyperparameters that every variant has. A variant adds fields in a Config of its own."""

    f: Annotated[int, Field(ge=1, le=1024, strict=True)] = 64  # width of the networks
    batch: Annotated[int, Field(ge=2, le=65536, strict=True)] = 64  # images per step
    z_dim: Annotated[int, Field(ge=1, le=65536, strict=True)] = 100
    z_mean: Real = 0.0
    z_std: Positive = 1.0
    lr: Positive = 2e-4  # G's learning rate (Adam)
    lr_ratio: Positive = 1.0  # D's learning rate divided by G's
    lr_scale: Positive = 1.0  # factor on all rates: fits published ones to fewer steps
    beta1: Fraction = 0.5
    beta2: Fraction = 0.999
    ema: Fraction = 0.999  # decay of the average of G's weights; this average is evaluated
    # Draw real images so that every class is equally likely. Images must have one label each.
    balanced: bool = False

    def images_needed(self) -> dict[str, int]:
        """The number of training images that each hyperparameter needs, by its name."""
        return {"batch": self.batch}

    def check_images(self, images: int) -> None:
        """Refuse hyperparameters that need more than `images` training images.

        Raises:
            ValueError: A hyperparameter needs more images.
        """
        for name, needed in self.images_needed().items():
            if needed > images:
                value = getattr(self, name)
                raise ValueError(f"{name}={value} needs {needed} images, and there are {images}")

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Config:
        """Make typed hyperparameters from plain values.

        Raises:
            ValueError: A key is unknown, or a value has the wrong type or is out of range. The
                message is one line. For an unknown key it lists the valid ones.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"])) or "hyperparameters"
            if first["type"] == "extra_forbidden":
                raise ValueError(
                    f"unknown hyperparameter {name!r}: choose from {', '.join(cls.model_fields)}"
                ) from None
            message = first["msg"].removeprefix("Value error, ")
            shown = f"{name}={first['input']!r}" if first["loc"] else name
            raise ValueError(f"bad value {shown}: {message}") from None
