"""Pictures: the model gets what training's Pillow or TensorFlow made of them, and a bad one hurts nobody else."""

from __future__ import annotations

import base64
import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundle_walks import close, encoded, inputs_of, packed, picture, rejections_of, scores_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from scorer.bundle import Bundle
from scorer.errors import PackError, Reason
from scorer.infer.runtime import tensorflow

unhurried = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
SIDE = 8
PILLOW = {"library": "pillow", "resize": [SIDE, SIDE], "scale": 1 / 255}
TENSORFLOW = PILLOW | {"library": "tensorflow"}


def keras() -> Any:
    import keras

    return keras


def network(shape: tuple[int | None, ...] = (SIDE, SIDE, 3), name: str = "photo", **first: Any) -> Any:
    """Return a small convolutional network; Resizing comes first where the shape has no size."""
    layers = keras().layers
    keras().utils.set_random_seed(11)
    inputs = keras().Input(shape, name=name, **first)
    sized = layers.Resizing(SIDE, SIDE)(inputs) if shape[0] is None else inputs
    hidden = layers.Conv2D(4, 3, activation="relu")(layers.Rescaling(1.0)(sized))
    return keras().Model(inputs, layers.Dense(1, activation="sigmoid")(layers.Flatten()(hidden)))


def photos(count: int = 24, **kind: Any) -> list[dict[str, Any]]:
    return [
        {"id": f"p{at}", "photo": picture(at, (20 + at, 30 - at % 7), kind=("PNG", "JPEG")[at % 2], **kind)}
        for at in range(count)
    ]


def by_pillow(
    data: bytes, mode: str = "RGB", resample: str = "bicubic", *, side: int | None = SIDE, divisor: int = 255
) -> NDArray[np.float32]:
    """Prepare a picture as training code does, with nothing but Pillow and NumPy."""
    from PIL import Image

    image = Image.open(io.BytesIO(data)).convert(mode)
    if side:
        image = image.resize((side, side), Image.Resampling[resample.upper()])
    return np.asarray(image, np.float32) / divisor


def by_tensorflow(
    data: bytes, channels: int = 3, method: str = "bilinear", *, side: int | None = SIDE, divisor: int = 255
) -> Any:
    """Prepare a picture as training code does, eagerly."""
    tf = tensorflow()
    image = tf.io.decode_image(data, channels, expand_animations=False)
    image = tf.image.resize(image, [side, side], method=method) if side else image
    return tf.cast(image, tf.float32) / divisor


def stacked(events: list[dict[str, Any]], prepare: Any, **how: Any) -> NDArray[np.float32]:
    return np.stack([np.asarray(prepare(event["photo"], **how)) for event in events])


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Give a bundle whose pictures Pillow prepares."""
    return packed(tmp_path_factory.mktemp("album") / "b", network(), photos(), event_id="id", image={"photo": PILLOW})


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Give a bundle whose pictures TensorFlow prepares, inside the model."""
    directory = tmp_path_factory.mktemp("gallery") / "b"
    return packed(directory, network(), photos(), event_id="id", image={"photo": TENSORFLOW})


def test_pillows_pictures_are_bit_equal_and_score_as_in_training(album: Bundle) -> None:
    """PNG and JPEG of many sizes, never seen at packing: open, convert, resize (bicubic), / 255."""
    events = photos(40)

    pixels = stacked(events, by_pillow)

    assert inputs_of(album, events).arrays["photo"].tobytes() == pixels.tobytes()
    assert close(scores_of(album, events), network()(pixels))


def test_tensorflows_pictures_score_as_the_eager_chain(gallery: Bundle) -> None:
    """decode_image, resize (bilinear) and / 255 are in the signature, which takes bytes."""
    events = photos(40)

    assert close(scores_of(gallery, events), network()(stacked(events, by_tensorflow)))
    assert gallery.manifest.model.inputs["photo"].dtype == "string"


def test_a_pictures_score_is_the_same_bits_in_any_company(gallery: Bundle) -> None:
    """Alone, among others, first or last of a batch."""
    events = photos(21)

    together = scores_of(gallery, events)

    alone = [scores_of(gallery, [event])[0] for event in events]
    assert together.tobytes() == np.array(alone, np.float32).tobytes()
    assert scores_of(gallery, events[::-1])[::-1].tobytes() == together.tobytes()


@pytest.mark.parametrize("resample", ["nearest", "bilinear", "bicubic", "lanczos", "area"])
def test_every_tensorflow_chain_is_bit_equal_under_padding(resample: str, tmp_path: Path) -> None:
    """A model whose logit is one of its pixels shows the bits that it got."""
    inputs = keras().Input((SIDE, SIDE, 1))
    model = keras().Model(inputs, keras().layers.Lambda(lambda x: x[:, 3, 5])(inputs))
    method = "lanczos3" if resample == "lanczos" else resample
    events = photos(18)

    bundle = packed(
        tmp_path / "b",
        model,
        events,
        image={"photo": TENSORFLOW | {"resample": resample, "channels": 1}},
        score="logit",
    )

    scores, _ = bundle.model(inputs_of(bundle, events))
    expected = [by_tensorflow(event["photo"], 1, method)[3, 5] for event in events]
    assert scores.log_odds.tobytes() == tensorflow().stack(expected).numpy().tobytes()


SCALES: dict[str, tuple[dict[str, float], Callable[[Any], Any]]] = {
    "none": ({}, lambda x: x),
    "a whole reciprocal": ({"scale": 0.01}, lambda x: x / np.float32(100)),
    "another": ({"scale": 0.0123}, lambda x: x * np.float32(0.0123)),
    "with an offset": ({"scale": 1 / 127.5, "offset": -1.0}, lambda x: x * np.float32(1 / 127.5) + np.float32(-1)),
}


@pytest.mark.parametrize("case", SCALES)
@pytest.mark.parametrize("library", ["pillow", "tensorflow"])
def test_scale_and_offset_are_applied_in_float32(library: str, case: str, tmp_path: Path) -> None:
    """Divided where the scale is one over a whole number, as training code does, else multiplied; then the offset."""
    options, formula = SCALES[case]
    chain = {"library": library, "resize": [SIDE, SIDE], "resample": "bilinear", **options}
    events = photos(17)

    bundle = packed(tmp_path / "b", network(), events, image={"photo": chain})

    prepare = {"pillow": partial(by_pillow, resample="bilinear"), "tensorflow": by_tensorflow}[library]
    expected = formula(stacked(events, prepare, divisor=1))
    if library == "pillow":
        assert inputs_of(bundle, events).arrays["photo"].tobytes() == expected.tobytes()
    assert close(scores_of(bundle, events), network()(expected))


@pytest.mark.parametrize("library", ["pillow", "tensorflow"])
def test_a_bad_picture_is_rejected_alone(
    library: str, album: Bundle, gallery: Bundle, request: pytest.FixtureRequest
) -> None:
    """Its reason is bad_image, its message names the fault, and its neighbours keep their bits."""
    bundle = album if library == "pillow" else gallery
    good = photos(len(BAD) + 1)
    mixed = [
        event
        for pair in zip(good, [{"id": "x", "photo": data} for data in BAD.values()], strict=False)
        for event in pair
    ]

    found = rejections_of(bundle, encoded(mixed))

    assert [(r.row, r.reason, r.path) for r in found] == [
        (2 * at + 1, Reason.BAD_IMAGE, "$.photo") for at in range(len(BAD))
    ]
    for rejection, said in zip(found, SAID, strict=True):
        assert said in rejection.message


def bomb(width: int, height: int) -> bytes:
    """Return a PNG of a few hundred bytes whose header is true or not: it claims so many pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


def other_format(kind: str) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (9, 9)).save(file, kind)
    return file.getvalue()


BAD = {
    "no picture": b"not a picture at all",
    "empty": b"",
    "GIF": other_format("GIF"),
    "BMP": other_format("BMP"),
    "cut PNG": picture(1)[:200],
    "cut JPEG": picture(1, kind="JPEG")[:-40],
    "only a header": picture(1)[:40],
    "too large": bomb(4001, 4000),
    "absurdly large": bomb(2**31 - 1, 2**31 - 1),
}
SAID = ["no PNG or JPEG", "0 bytes", "no PNG or JPEG", "no PNG or JPEG", "", "", "", "max_pixels of 16000000", ""]


def test_text_that_is_no_base64_has_the_wrong_type(album: Bundle) -> None:
    """It never gets as far as an image."""
    (found,) = rejections_of(album, [b'{"id": "a", "photo": "no base64!"}'])

    assert (found.reason, found.path) == (Reason.WRONG_TYPE, "$.photo")


@unhurried
@given(seed=st.integers(0, 3), cut=st.integers(1, 400), at=st.integers(0, 400), byte=st.integers(0, 255))
@pytest.mark.parametrize("library", ["pillow", "tensorflow"])
def test_no_broken_picture_stops_the_batch(
    library: str, *, seed: int, cut: int, at: int, byte: int, album: Bundle, gallery: Bundle
) -> None:
    """Whatever bytes come, the event beside them is scored; the broken one is scored too, or rejected."""
    data = bytearray(picture(seed, kind=("PNG", "JPEG")[seed % 2]))
    data[at % len(data)] = byte
    whole = picture(9)

    found = rejections_of(
        album if library == "pillow" else gallery,
        encoded([{"id": "a", "photo": whole}, {"id": "b", "photo": bytes(data[: -cut % len(data)])}]),
    )

    assert {rejection.row for rejection in found} <= {1}
    assert {rejection.reason for rejection in found} <= {Reason.BAD_IMAGE, Reason.MODEL_FAILED}


def odd_pictures() -> dict[str, bytes]:
    """Return pictures of the kinds that surprise: palette, 16 bits, bilevel, animated, CMYK, turned by EXIF."""
    from PIL import Image

    grey = Image.fromarray(np.random.default_rng(1).integers(0, 65536, (20, 24), dtype=np.uint16))
    colour = Image.open(io.BytesIO(picture(2)))
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = [Image.open(io.BytesIO(picture(seed))) for seed in (3, 4)]
    saved: dict[str, tuple[Any, dict[str, Any]]] = {
        "palette": (colour.quantize(16), {"format": "PNG"}),
        "palette with transparency": (colour.quantize(16), {"format": "PNG", "transparency": 3}),
        "16 bits": (grey, {"format": "PNG"}),
        "bilevel": (colour.convert("1"), {"format": "PNG"}),
        "animated": (frames[0], {"format": "PNG", "save_all": True, "append_images": frames[1:]}),
        "CMYK": (colour.convert("CMYK"), {"format": "JPEG"}),
        "turned": (colour, {"format": "JPEG", "exif": exif}),
    }
    files = {name: io.BytesIO() for name in saved}
    for name, (image, how) in saved.items():
        image.save(files[name], **how)
    return {name: file.getvalue() for name, file in files.items()}


@pytest.mark.parametrize("library", ["pillow", "tensorflow"])
def test_odd_pictures_are_what_the_library_makes_of_them(library: str, album: Bundle, gallery: Bundle) -> None:
    """Palettes, 16 bits, CMYK, animations (their first frame) and EXIF (left alone), as in plain training code."""
    events = [{"id": name, "photo": data} for name, data in odd_pictures().items()]
    bundle, prepare = (album, by_pillow) if library == "pillow" else (gallery, by_tensorflow)

    pixels = stacked(events, prepare)

    assert close(scores_of(bundle, events), network()(pixels))
    if library == "pillow":
        assert inputs_of(bundle, events).arrays["photo"].tobytes() == pixels.tobytes()


def test_without_resize_a_picture_must_have_the_models_size(tmp_path: Path) -> None:
    """Another size is rejected by its header, with both libraries."""
    events = [{"photo": picture(at, (SIDE, SIDE))} for at in range(20)]
    for library, prepare in (("pillow", by_pillow), ("tensorflow", by_tensorflow)):
        bundle = packed(tmp_path / library, network(), events, image={"photo": {"library": library, "scale": 1 / 255}})

        assert close(scores_of(bundle, events), network()(stacked(events, prepare, side=None)))
        (found,) = rejections_of(bundle, encoded([events[0], {"photo": picture(1, (SIDE, SIDE + 1))}]))
        assert (found.row, found.reason) == (1, Reason.BAD_IMAGE)
        assert f"{SIDE + 1} x {SIDE}" in found.message


def test_a_model_that_resizes_itself_takes_pictures_of_any_size(tmp_path: Path) -> None:
    """Each goes through alone, and scores as it does eagerly."""
    model, events = network((None, None, 3)), photos(19)

    bundle = packed(tmp_path / "b", model, events, image={"photo": {"library": "tensorflow", "scale": 1 / 255}})

    expected = [model(by_tensorflow(event["photo"], side=None)[None]).numpy()[0, 0] for event in events]
    assert close(scores_of(bundle, events), expected)


def test_a_saved_model_that_resizes_itself_may_take_features_too(tmp_path: Path) -> None:
    """Its rows go through one by one, the picture and the numbers of each together."""
    layers, tf = keras().layers, tensorflow()
    keras().utils.set_random_seed(8)
    photo, numbers = keras().Input((None, None, 3), name="photo"), keras().Input((2,), name="numbers")
    pixels = layers.Flatten()(layers.Rescaling(1 / 255)(layers.Resizing(SIDE, SIDE)(photo)))
    model = keras().Model(
        [photo, numbers], layers.Dense(1, activation="sigmoid")(layers.Concatenate()([pixels, numbers]))
    )
    model.export(tmp_path / "model", verbose=False)
    events = [event | {"a": at / 9, "b": -at / 7} for at, event in enumerate(photos(17))]

    bundle = packed(
        tmp_path / "b", tmp_path / "model", events, columns=["a", "b"], image={"photo": {"library": "tensorflow"}}
    )

    for event, score in zip(events, scores_of(bundle, events), strict=True):
        pixels = by_tensorflow(event["photo"], side=None, divisor=1)[None]
        assert close(score, model([pixels, tf.constant([[event["a"], event["b"]]])])[0, 0])


def test_two_pictures_may_have_two_libraries(tmp_path: Path) -> None:
    """One by Pillow, one by TensorFlow in front of the input that `inputs=` names."""
    layers, tf = keras().layers, tensorflow()
    keras().utils.set_random_seed(8)
    front, back = keras().Input((SIDE, SIDE, 3), name="front"), keras().Input((SIDE, SIDE, 1), name="back")
    parts = [layers.Flatten()(one) for one in (front, back)]
    model = keras().Model([front, back], layers.Dense(1, activation="sigmoid")(layers.Concatenate()(parts)))
    events = [{"front": picture(at), "side": {"view": picture(at + 50, mode="L")}} for at in range(17)]

    bundle = packed(
        tmp_path / "b", model, events, image={"front": PILLOW, "side.view": TENSORFLOW}, inputs={"back": "side.view"}
    )

    fronts = np.stack([by_pillow(event["front"]) for event in events])
    backs = np.stack([by_tensorflow(event["side"]["view"], 1) for event in events])
    assert close(scores_of(bundle, events), model([tf.constant(fronts), tf.constant(backs)]))


def test_pictures_as_base64_text_or_bytes_are_the_same_examples(album: Bundle, tmp_path: Path) -> None:
    """In events for packing a field that image= names may be either."""
    texts = [event | {"photo": base64.b64encode(event["photo"]).decode()} for event in photos()]

    bundle = packed(tmp_path / "b", network(), texts, event_id="id", image={"photo": PILLOW})

    assert bundle.manifest.events == album.manifest.events
    assert scores_of(bundle, photos()).tobytes() == scores_of(album, photos()).tobytes()


def test_a_saved_model_of_bytes_gets_them_as_they_are(tmp_path: Path) -> None:
    """It decodes itself; image= adds the limit on pixels, and without it the field needs no more than its type."""
    tf = tensorflow()
    model, module, events = network(), tf.Module(), photos(17)
    module.model = model

    def rate(data: Any) -> dict[str, Any]:
        one = tf.TensorSpec([SIDE, SIDE, 3], tf.float32)
        return {"p": model(tf.map_fn(by_tensorflow_in_graph, data, fn_output_signature=one))}

    module.rate = tf.function(rate)
    spec = tf.TensorSpec([None], tf.string, name="inputs")
    signatures = {"serving_default": module.rate.get_concrete_function(spec)}
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=signatures)

    plain = packed(tmp_path / "plain", tmp_path / "model", events, event_id="id")
    limited = {"photo": {"library": "tensorflow", "max_pixels": 1030}}
    checked = packed(tmp_path / "checked", tmp_path / "model", events, event_id="id", image=limited)

    expected = model(stacked(events, by_tensorflow))
    assert close(scores_of(plain, events), expected)
    assert close(scores_of(checked, events), expected)
    (found,) = rejections_of(checked, encoded([{"id": "a", "photo": picture(1, (40, 26))}]))
    assert found.reason is Reason.BAD_IMAGE


def by_tensorflow_in_graph(data: Any) -> Any:
    tf = tensorflow()
    image = tf.io.decode_image(data, 3, expand_animations=False)
    image.set_shape([None, None, 3])
    return tf.image.resize(image, [SIDE, SIDE]) / 255.0


def test_grey_pictures_feed_a_flat_input(tmp_path: Path) -> None:
    """An input of height x width numbers takes the pixels row by row, as `reshape(-1)` does."""
    keras().utils.set_random_seed(1)
    model = keras().Sequential([keras().Input((SIDE * SIDE,)), keras().layers.Dense(1, activation="sigmoid")])
    events = photos(17)

    bundle = packed(tmp_path / "b", model, events, image={"photo": PILLOW | {"mode": "L"}})

    pixels = stacked(events, by_pillow, mode="L").reshape(-1, SIDE * SIDE)
    assert close(scores_of(bundle, events), model(pixels))


def test_an_image_and_features_feed_a_model_together(tmp_path: Path) -> None:
    """Each input takes its own: the picture by its name, the matrix of features the other, and both libraries do."""
    from sklearn.preprocessing import StandardScaler

    layers = keras().layers
    keras().utils.set_random_seed(2)
    photo, features = keras().Input((SIDE, SIDE, 3), name="photo"), keras().Input((2,), name="features")
    joined = layers.Concatenate()([layers.GlobalAveragePooling2D()(photo), features])
    model = keras().Model([photo, features], layers.Dense(1, activation="sigmoid")(joined))
    numbers = np.random.default_rng(1).normal(50, 9, (20, 2))
    scaler = StandardScaler().fit(numbers)
    events = [event | {"a": a, "b": b} for event, (a, b) in zip(photos(20), numbers.tolist(), strict=True)]
    for library, prepare in (("pillow", by_pillow), ("tensorflow", by_tensorflow)):
        chain = PILLOW | {"library": library}

        bundle = packed(
            tmp_path / library, model, events, preprocessor=scaler, columns=["a", "b"], image={"photo": chain}
        )

        scaled = scaler.transform(numbers).astype(np.float32)
        assert inputs_of(bundle, events).arrays["features"].tobytes() == scaled.tobytes()
        assert close(scores_of(bundle, events), model([stacked(events, prepare), scaled]))


REFUSED: dict[str, tuple[Any, str]] = {
    "no library": ({"resize": [8, 8]}, "library"),
    "another library": ({"library": "opencv"}, "opencv"),
    "unknown key": (PILLOW | {"antialias": True}, "antialias"),
    "area in Pillow": (PILLOW | {"resample": "area"}, "pillow has nearest, bilinear"),
    "box in TensorFlow": (TENSORFLOW | {"resample": "box"}, "tensorflow has nearest, bilinear"),
    "a mode of other channels": (PILLOW | {"mode": "L", "channels": 3}, "mode L has 1 channels"),
    "another size": (PILLOW | {"resize": [8, 9]}, r"takes \[8, 8, 3\]"),
    "another size in TensorFlow": (TENSORFLOW | {"resize": [8, 9]}, r"takes \[8, 8, 3\]"),
    "other channels": (PILLOW | {"mode": "RGBA"}, r"takes \[8, 8, 3\]"),
    "endless scale": (PILLOW | {"scale": float("inf")}, "finite"),
    "no pixels": (PILLOW | {"max_pixels": 0}, "max_pixels"),
    "no mapping": ("pillow", "a str"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_chain_that_cannot_be_is_refused(case: str, tmp_path: Path) -> None:
    """When packed, naming the field and what is wrong."""
    chain, said = REFUSED[case]

    with pytest.raises(PackError, match=f"image 'photo'.*{said}"):
        packed(tmp_path / "b", network(), photos(3), image={"photo": chain})


def test_a_field_that_no_event_has_is_refused(tmp_path: Path) -> None:
    """A mistyped name is not an image that is always null."""
    with pytest.raises(PackError, match="photograph"):
        packed(tmp_path / "b", network(), photos(3), image={"photograph": PILLOW})


def test_without_pillow_a_bundle_of_images_says_so_in_one_line(album: Bundle) -> None:
    """It names the input, the field and what to install; a bundle without images never asks for Pillow."""
    program = (
        "import sys; sys.modules['PIL'] = None\n"
        "from scorer.bundle import load\n"
        "from scorer.errors import BundleError\n"
        "try:\n    load(sys.argv[1])\nexcept BundleError as error:\n    print(error)"
    )

    ran = subprocess.run([sys.executable, "-c", program, str(album.path)], capture_output=True, text=True, check=True)

    assert len(ran.stdout.splitlines()) == 1
    assert "'photo'" in ran.stdout
    assert "pip install 'scorer[image]'" in ran.stdout
