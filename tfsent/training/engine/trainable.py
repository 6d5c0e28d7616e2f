"""What a recipe trains: the whole classifier, its head alone, or a student that imitates hidden states."""

from __future__ import annotations

import keras

from tfsent.model.bert import BertEncoder, copy_weights
from tfsent.model.hidden_states import TEACHER, imitating, pair_layers
from tfsent.text.feed import BatchLoader
from tfsent.training.engine.head_only import Position, head_part
from tfsent.training.engine.setup import TrainingSetup


def trainable_part(
    setup: TrainingSetup, classifier: keras.Model, position: Position
) -> tuple[keras.Model, BatchLoader, BatchLoader]:
    """Return what the recipe trains, with its training and validation batches.

    Args:
        setup: of the recipe.
        classifier: of `setup.build_model`. What is returned shares its layers.
        position: see `BatchLoader`.

    Raises:
        ConfigError: `distil.layers` does not fit student and teacher.
    """
    if setup.config.train.freeze_encoder:
        return head_part(setup, classifier, position)
    model = classifier if setup.hidden_teacher is None else _student(setup, classifier)
    return model, setup.train_loader(position), setup.validation_loader()


def _student(setup: TrainingSetup, classifier: keras.Model) -> keras.Model:
    assert setup.hidden_teacher is not None
    config = setup.config
    backbone = setup.hidden_teacher.backbone
    own = {"dropout": 0.0, "dtype": setup.precision, "name": TEACHER}
    teacher = BertEncoder.from_config({**backbone.get_config(), **own})
    copy_weights(backbone, teacher)
    pairs = pair_layers(config.distil, setup.encoder.backbone, teacher)
    return imitating(classifier, config.model, teacher, pairs, config.distil.hidden_weight, setup.pad_id)
