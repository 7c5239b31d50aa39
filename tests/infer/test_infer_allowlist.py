"""Room 3: a SavedModel is read before it is loaded, and what could do anything but compute is refused, unrun."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scorer.errors import BundleError, PackError
from scorer.infer.allowlist import WHY, allowed, check_saved_model
from scorer.infer.export import Fronts, export
from scorer.infer.model import load_saved_model
from scorer.infer.runtime import tensorflow

tf = tensorflow()
Scores = dict[str, Any]


def saved(directory: Path, function: Callable[[Any], Any], dtype: str = "float32", **held: Any) -> Path:
    """Save a function of one column as a SavedModel, with the signature `serving_default`; `held` is kept by it."""
    module = tf.Module()
    for name, value in held.items():
        setattr(module, name, value)
    module.weight = tf.Variable(2.0)
    module.endpoint = tf.function(lambda x: {"p": function(x)})
    concrete = module.endpoint.get_concrete_function(tf.TensorSpec([None], dtype, name="x"))
    tf.saved_model.save(module, str(directory), signatures={"serving_default": concrete})
    return directory


def saved_v1(
    directory: Path, build: Callable[[], tuple[Any, Any, Any]], assets: bool = True, resource: bool = False
) -> Path:
    """Save the graph that `build` makes (input, output, main op) as TensorFlow 1 did, by a builder and a session."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        weight = v1.get_variable("weight", [1], use_resource=resource)
        given, result, main = build()
        session.run([v1.global_variables_initializer()])
        inputs = {"x": v1.saved_model.build_tensor_info(given)}
        outputs = {"p": v1.saved_model.build_tensor_info(v1.to_float(result) + weight)}
        signature = v1.saved_model.build_signature_def(inputs, outputs, "predict")
        builder = v1.saved_model.Builder(str(directory))
        kept = v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS) if assets else None
        builder.add_meta_graph_and_variables(
            session, ["serve"], {"serving_default": signature}, assets_collection=kept, main_op=main
        )
        builder.save()
    return directory


def edited(directory: Path, change: Callable[[Any], None]) -> Path:
    """Change the graph of a SavedModel as an attacker would, in its file."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    path = directory / "saved_model.pb"
    graph = SavedModel.FromString(path.read_bytes())
    change(graph.meta_graphs[0])
    path.write_bytes(graph.SerializeToString())
    return directory


def refused(directory: Path) -> str:
    """Return the line by which loading is refused."""
    with pytest.raises(BundleError) as caught:
        load_saved_model(directory)
    message = str(caught.value)
    assert "\n" not in message
    assert str(directory) in message
    return message


def words(path: Path) -> Path:
    path.write_text("apple\npear\n")
    return path


def table_of(filename: Any) -> Any:
    text, line = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
    return tf.lookup.StaticHashTable(tf.lookup.TextFileInitializer(filename, tf.string, text, tf.int64, line), -1)


# What passes.


def dense() -> Any:
    layers = tf.keras.layers
    return [
        tf.keras.Input((4,)),
        layers.Dense(8, "gelu"),
        layers.BatchNormalization(),
        layers.Dropout(0.1),
        layers.Dense(1),
    ]


def convolutional() -> Any:
    layers = tf.keras.layers
    body = [layers.Conv2D(4, 3, activation="relu"), layers.DepthwiseConv2D(3), layers.MaxPooling2D()]
    return [tf.keras.Input((16, 16, 3)), *body, layers.GlobalAveragePooling2D(), layers.Dense(2, "softmax")]


def recurrent() -> Any:
    layers = tf.keras.layers
    body = [layers.Embedding(20, 4, mask_zero=True), layers.Bidirectional(layers.LSTM(4, return_sequences=True))]
    return [tf.keras.Input((6,), dtype="int32"), *body, layers.GRU(3), layers.Dense(1, "sigmoid")]


def pictures() -> Any:
    layers = tf.keras.layers
    body = [layers.Resizing(8, 8), layers.Rescaling(1 / 255), layers.CenterCrop(6, 6), layers.RandomFlip()]
    return [tf.keras.Input((16, 16, 3)), *body, layers.Flatten(), layers.Dense(1)]


def figures() -> Any:
    layers = tf.keras.layers
    normal = layers.Normalization()
    normal.adapt(tf.constant([[1.0], [2.0], [5.0]]))
    return [
        tf.keras.Input((1,)),
        normal,
        layers.Discretization([0.0, 1.0]),
        layers.CategoryEncoding(3),
        layers.Dense(1),
    ]


def text() -> Any:
    layers = tf.keras.layers
    vectorize = layers.TextVectorization(max_tokens=10, output_sequence_length=4)
    vectorize.adapt(tf.constant(["an apple", "a pear"]))
    return [tf.keras.Input((1,), dtype="string"), vectorize, layers.Embedding(10, 2), layers.Flatten(), layers.Dense(1)]


def hashed() -> Any:
    layers = tf.keras.layers
    return [tf.keras.Input((1,), dtype="string"), layers.Hashing(8, output_mode="one_hot"), layers.Dense(1)]


def tf_idf() -> Any:
    layers = tf.keras.layers
    vectorize = layers.TextVectorization(output_mode="tf_idf", ngrams=2)
    vectorize.adapt(tf.constant(["an apple", "a pear"]))
    return [tf.keras.Input((1,), dtype="string"), vectorize, layers.Dense(1)]


def string_lookup() -> Any:
    layers = tf.keras.layers
    lookup = layers.StringLookup(vocabulary=["a", "b"], output_mode="multi_hot")
    return [tf.keras.Input((1,), dtype="string"), lookup, layers.Dense(1)]


def integer_lookup() -> Any:
    layers = tf.keras.layers
    lookup = layers.IntegerLookup(vocabulary=[1, 7], num_oov_indices=2, output_mode="one_hot")
    return [tf.keras.Input((1,), dtype="int64"), lookup, layers.Dense(1)]


KERAS = [dense, convolutional, recurrent, pictures, figures, text, hashed, tf_idf, string_lookup, integer_lookup]


@pytest.mark.parametrize("layers", KERAS)
def test_what_keras_exports_passes_and_loads(layers: Callable[[], Any], tmp_path: Path) -> None:
    """The layers of an ordinary model, and Keras' preprocessing layers, only compute."""
    tf.keras.Sequential(layers()).export(tmp_path / "model", verbose=False)

    assert load_saved_model(tmp_path / "model").signatures


def test_attention_passes(tmp_path: Path) -> None:
    """So do transformers."""
    layers = tf.keras.layers
    tokens = tf.keras.Input((6,), dtype="int32")
    embedded = layers.Embedding(20, 8)(tokens)
    joined = layers.LayerNormalization()(embedded + layers.MultiHeadAttention(2, 4)(embedded, embedded))
    tf.keras.Model(tokens, layers.Dense(1)(layers.GlobalMaxPooling1D()(joined))).export(
        tmp_path / "model", verbose=False
    )

    check_saved_model(tmp_path / "model")


def test_a_vocabulary_that_is_an_asset_passes_saved_again_too(tmp_path: Path) -> None:
    """A table of words, in a file of the model, works after a load, and after saving what was loaded."""
    table = table_of(str(words(tmp_path / "words.txt")))
    source = saved(tmp_path / "model", lambda x: tf.cast(table.lookup(x), tf.float32), "string", table=table)
    loaded = load_saved_model(source)
    tf.saved_model.save(loaded, str(tmp_path / "again"), signatures=loaded.signatures)
    (tmp_path / "words.txt").unlink()
    shutil.rmtree(source)

    again = load_saved_model(tmp_path / "again")

    assert again.signatures["serving_default"](x=tf.constant(["pear", "?"]))["p"].numpy().tolist() == [1.0, -1.0]


def test_a_mutable_table_and_loops_pass(tmp_path: Path) -> None:
    """Tables that are restored from the checkpoint, branches and loops are ordinary."""
    table = tf.lookup.experimental.MutableHashTable(tf.int64, tf.float32, 0.0)
    table.insert(tf.constant([1], tf.int64), [5.0])

    def score(x: Any) -> Any:
        total = tf.while_loop(lambda at, _: at < 3, lambda at, sum_: (at + 1, sum_ + x), (0, x))[1]
        return tf.cond(tf.reduce_sum(x) > 0, lambda: total + table.lookup(tf.cast(x, tf.int64)), lambda: tf.sort(total))

    source = saved(tmp_path / "model", score, table=table)

    assert load_saved_model(source).signatures["serving_default"](x=tf.constant([1.0]))["p"].numpy().tolist() == [9.0]


def test_images_decoded_row_by_row_pass(tmp_path: Path) -> None:
    """Bytes become pictures inside the graph."""

    def one(raw: Any) -> Any:
        return tf.image.resize(tf.io.decode_image(raw, 3, expand_animations=False), (4, 4))

    def score(x: Any) -> Any:
        return tf.reduce_mean(tf.map_fn(one, x, fn_output_signature=tf.float32), (1, 2, 3))

    check_saved_model(saved(tmp_path / "model", score, "string"))


@pytest.mark.parametrize("resave", [False, True])
def test_a_model_of_tensorflow_1_passes(resave: bool, tmp_path: Path) -> None:
    """With reference variables, a sharded saver in the graph and a vocabulary among its assets; saved anew too."""

    def build() -> tuple[Any, Any, Any]:
        table, given = table_of(str(words(tmp_path / "words.txt"))), tf.compat.v1.placeholder(tf.string, [None])
        return given, table.lookup(given), tf.compat.v1.tables_initializer()

    source = saved_v1(tmp_path / "model", build, resource=resave)  # TensorFlow saves reference variables once only
    if resave:
        loaded = load_saved_model(source)
        source = tmp_path / "again"
        tf.saved_model.save(loaded, str(source), signatures=loaded.signatures)

    assert load_saved_model(source).signatures["serving_default"](x=tf.constant(["pear"]))["p"].shape == (1,)


def test_simple_save_passes(tmp_path: Path) -> None:
    """`tf.compat.v1.saved_model.simple_save` of a plain graph."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        given = v1.placeholder(tf.float32, [None], name="x")
        score = given * v1.get_variable("w", [])
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(tmp_path / "model"), {"x": given}, {"p": score})

    check_saved_model(tmp_path / "model")


def test_a_large_graph_is_read_in_a_moment(tmp_path: Path) -> None:
    """5 MB of nodes, more than any model of this service has, take a second of the processor, not minutes."""
    source = saved(tmp_path / "model", lambda x: x + 1)

    def grow(meta: Any) -> None:
        function = next(f for f in meta.graph_def.library.function if any(n.op == "AddV2" for n in f.node_def))
        node = next(n for n in function.node_def if n.op == "AddV2")
        for number in range(45_000):
            added = function.node_def.add()
            added.CopyFrom(node)
            added.name = f"layer_{number}/with_a_name_of_some_length/add"

    edited(source, grow)
    assert (source / "saved_model.pb").stat().st_size > 5_000_000
    start = time.process_time()

    check_saved_model(source)

    assert time.process_time() - start < 10.0


# What is refused.


def test_a_hidden_write_is_refused_before_anything_runs(tmp_path: Path) -> None:
    """A write in a branch, in a function that a function calls, in one that is called at the load: no file appears."""
    target = tmp_path / "written"

    @tf.function
    def inner(x: Any) -> Any:
        def write() -> Any:
            with tf.control_dependencies([tf.io.write_file(str(target), "owned")]):
                return tf.identity(x)

        return tf.cond(tf.reduce_sum(x) > -1e9, write, lambda: x)

    outer = tf.function(lambda x: inner(x) * 2)
    source = saved(tmp_path / "model", outer)

    message = refused(source)

    assert not target.exists()
    assert "op WriteFile" in message
    assert "writes files" in message
    assert "function '" in message
    tf.saved_model.load(str(source)).signatures["serving_default"](x=tf.constant([1.0]))
    assert target.exists()  # the attack is real


def test_a_write_at_load_is_refused_before_anything_runs(tmp_path: Path) -> None:
    """What TensorFlow 1 models do when they are loaded (their main op) has not happened when they are refused."""
    target = tmp_path / "written"

    def build() -> tuple[Any, Any, Any]:
        given = tf.compat.v1.placeholder(tf.float32, [None])
        return given, given, tf.group(tf.io.write_file(str(target), "owned"))

    source = saved_v1(tmp_path / "model", build)

    assert "op WriteFile (node 'WriteFile', the main graph) writes files" in refused(source)
    assert not target.exists()
    tf.saved_model.load(str(source))
    assert target.exists()  # the attack is real


def after(effect: Any, x: Any) -> Any:
    with tf.control_dependencies([effect]):
        return tf.identity(x)


def queued(x: Any) -> Any:
    queue = tf.raw_ops.FIFOQueueV2(component_types=[tf.float32])
    return x + tf.raw_ops.QueueDequeueV2(handle=queue, component_types=[tf.float32])[0]


def summed(x: Any) -> Any:
    return x + tf.data.Dataset.range(3).reduce(0.0, lambda total, n: total + tf.cast(n, tf.float32))


def summarized(x: Any) -> Any:
    handle = tf.raw_ops.SummaryWriter()
    logs = {"writer": handle, "logdir": "logs", "max_queue": 1, "flush_millis": 1, "filename_suffix": ""}
    return after(tf.raw_ops.CreateSummaryFileWriter(**logs), x)


OPS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "ReadFile": (lambda x: x + tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32), "reads files"),
    "MatchingFiles": (lambda x: after(tf.io.matching_files("/etc/*"), x), "reads files"),
    "PyFunc": (lambda x: tf.numpy_function(lambda y: y, [x], tf.float32), "runs Python code"),
    "EagerPyFunc": (lambda x: tf.py_function(lambda y: y, [x], tf.float32), "runs Python code"),
    "PrintV2": (lambda x: after(tf.print(x, output_stream="file://leaked"), x), "may print into a file"),
    "SummaryWriter": (summarized, "writes event files"),
    "ReduceDataset": (summed, "carries graphs of its own"),
    "FIFOQueueV2": (queued, "may wait for ever"),
    "ImmutableConst": (
        lambda x: x + tf.raw_ops.ImmutableConst(dtype=tf.float32, shape=[1], memory_region_name="/etc/hostname"),
        "reads files",
    ),
    "DebugIdentityV3": (
        lambda x: tf.raw_ops.DebugIdentityV3(input=x, debug_urls=["file:///tmp/leaked"], tensor_name="x"),
        "sends tensors to",
    ),
    "Send": (
        lambda x: after(
            tf.raw_ops.Send(tensor=x, tensor_name="x", send_device="a", send_device_incarnation=1, recv_device="b"), x
        ),
        "talks to other machines",
    ),
    "SaveSlices": (
        lambda x: after(tf.raw_ops.SaveSlices(filename="f", tensor_names=["x"], shapes_and_slices=[""], data=[x]), x),
        "writes files",
    ),
    "Timestamp": (lambda x: x + tf.cast(tf.timestamp(), tf.float32), "not on the list"),
}


@pytest.mark.parametrize("op", OPS)
def test_an_op_that_does_more_than_compute_is_refused_by_name_and_reason(op: str, tmp_path: Path) -> None:
    """The line names the op, where it is, and what it does."""
    function, reason = OPS[op]

    message = refused(saved(tmp_path / "model", function))

    assert reason in message
    assert "node '" in message
    assert op not in allowed()
    if op != "ReduceDataset":  # a pipeline has several, and the first is named
        assert f"op {op} " in message


def test_no_reason_to_refuse_speaks_against_an_allowed_op() -> None:
    """The list and the reasons do not contradict each other; the list names ops of this TensorFlow only."""
    known = {name for name in dir(tf.raw_ops) if not name.startswith("_")}

    assert [op for op in sorted(allowed()) for pattern, _ in WHY if re.search(pattern, op)] == []
    assert allowed() <= known


def test_an_op_of_somebody_elses_library_is_refused(tmp_path: Path) -> None:
    """What is no op of TensorFlow is native code that the process would need."""

    def change(meta: Any) -> None:
        meta.graph_def.node.add(name="mine", op="MyOwnOp")

    source = edited(saved(tmp_path / "model", lambda x: x + 1), change)

    assert "op MyOwnOp (node 'mine', the main graph) is none of TensorFlow's" in refused(source)


def writer_of(name: str) -> Callable[[Any], Any]:
    return lambda x: after(
        tf.raw_ops.SaveV2(prefix=name, tensor_names=["x"], shape_and_slices=[""], tensors=[tf.identity(x)]), x
    )


def test_the_savers_op_in_a_signature_is_refused(tmp_path: Path) -> None:
    """Saving is for the saver: a signature that saves by the same op, deep in a branch, writes files."""
    writes = tf.function(writer_of(str(tmp_path / "written")))
    source = saved(tmp_path / "model", lambda x: tf.cond(tf.size(x) > 0, lambda: writes(x), lambda: x))

    assert "saves or restores files" in refused(source)
    assert [*tmp_path.iterdir()] == [source]


def saving_v1(role: str, prefix: str) -> Callable[[], tuple[Any, Any, Any]]:
    """Build a graph that saves to `prefix` in its main op or in its signature."""

    def build() -> tuple[Any, Any, Any]:
        given = tf.compat.v1.placeholder(tf.float32, [None])
        save = tf.raw_ops.SaveV2(prefix=prefix, tensor_names=["x"], shape_and_slices=[""], tensors=[tf.constant(1.0)])
        return given, after(save, given) if role == "signature" else given, save if role == "main op" else None

    return build


@pytest.mark.parametrize("role", ["main op", "signature"])
def test_the_savers_op_in_a_graph_of_tensorflow_1_is_refused(role: str, tmp_path: Path) -> None:
    """Neither what runs at the load nor what runs in a call may depend on it."""
    source = saved_v1(tmp_path / "model", saving_v1(role, str(tmp_path / "written")))

    assert "saves or restores files" in refused(source)
    assert [*tmp_path.iterdir()] == [source]


def test_a_restore_that_saves_is_refused(tmp_path: Path) -> None:
    """A loader runs the restore op: it is the attacker's who names it."""
    source = saved_v1(tmp_path / "model", saving_v1("nowhere", str(tmp_path / "written")))

    def change(meta: Any) -> None:
        meta.saver_def.restore_op_name = next(node.name for node in meta.graph_def.node if node.op == "SaveV2")

    assert "would write files" in refused(edited(source, change))


def test_a_restore_from_elsewhere_is_refused(tmp_path: Path) -> None:
    """Variables come from the model's own directory: a file name in the graph is another's."""

    def build() -> tuple[Any, Any, Any]:
        given = tf.compat.v1.placeholder(tf.float32, [None])
        return given, given, None

    def change(meta: Any) -> None:
        restore = next(node for node in meta.graph_def.node if node.op == "RestoreV2")
        restore.input[0] = next(node.name for node in meta.graph_def.node if node.name.endswith("filename/input"))

    source = edited(saved_v1(tmp_path / "model", build), change)

    assert "op RestoreV2" in refused(source)


def test_a_stand_in_that_saves_is_refused(tmp_path: Path) -> None:
    """TensorFlow may swap a function for another that claims to implement the same; the saver's may not claim it."""

    def change(meta: Any) -> None:
        for function in meta.graph_def.library.function:
            if any(node.op == "SaveV2" for node in function.node_def):
                function.attr["api_implements"].s = b"score"

    source = edited(saved(tmp_path / "model", lambda x: x + 1), change)

    assert "saves or restores files" in refused(source)


def initialized(filename: Any, x: Any) -> Any:
    table = tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64)
    start = tf.raw_ops.InitializeTableFromTextFileV2(
        table_handle=table, filename=filename, key_index=-2, value_index=-1
    )
    with tf.control_dependencies([start]):
        size = tf.raw_ops.LookupTableSizeV2(table_handle=table)
    return tf.zeros(tf.shape(x)) + tf.cast(size, tf.float32)


def branched(filename: Any, x: Any) -> Any:
    return tf.cond(tf.size(x) > 0, lambda: initialized(filename, x), lambda: tf.zeros([1]))


FILENAMES: dict[str, Callable[[Any], Any]] = {
    "a constant": lambda x: initialized(tf.constant("/etc/passwd"), x),
    "the event's": lambda x: initialized(x[0], x),
    "made of text": lambda x: initialized(tf.strings.join(["/etc/", "passwd"]), x),
    "a constant outside of a function": lambda x: tf.function(lambda f: initialized(f, x))(tf.constant("/etc/passwd")),
    "a constant outside of a branch": lambda x: branched(tf.constant("/etc/passwd"), x),
}


@pytest.mark.parametrize("kind", FILENAMES)
def test_a_table_of_a_file_that_is_no_asset_is_refused(kind: str, tmp_path: Path) -> None:
    """Its words would be any file's of the machine, whoever names it."""
    message = refused(saved(tmp_path / "model", FILENAMES[kind], "string"))

    assert "InitializeTableFromTextFileV2" in message
    assert "asset of the model" in message or "only a plain call may" in message


def test_a_captured_file_name_is_refused(tmp_path: Path) -> None:
    """A constant that the object graph gives to the function is no asset either."""
    name = tf.constant("/etc/passwd")
    source = saved(tmp_path / "model", lambda x: initialized(name, x), "string", name_=name)

    assert "asset of the model" in refused(source)


@pytest.mark.parametrize("attack", ["no asset", "fed by the event", "another tensor is the asset"])
def test_a_table_of_tensorflow_1_reads_assets_only(attack: str, tmp_path: Path) -> None:
    """The name of its file is where the loader puts an asset's path, and no call feeds it."""
    table_file = str(words(tmp_path / "words.txt"))

    def build() -> tuple[Any, Any, Any]:
        table, start = table_of(table_file), tf.compat.v1.tables_initializer()
        given = tf.compat.v1.placeholder(tf.string, [None])
        return given, after(start, table.lookup(given)) if attack.startswith("fed") else table.lookup(given), start

    def change(meta: Any) -> None:
        if attack.startswith("fed"):
            tensor = meta.signature_def["serving_default"].inputs["f"]
            tensor.CopyFrom(meta.signature_def["serving_default"].inputs["x"])
            tensor.name = "asset_path:0"
        if attack.startswith("another"):
            meta.asset_file_def.add(filename="words.txt").tensor_info.name = "Const:0"

    source = edited(saved_v1(tmp_path / "model", build, assets=attack != "no asset"), change)
    message = refused(source)

    assert "reads a file in every call" in message if attack.startswith("fed") else "asset of the model" in message


@pytest.mark.parametrize("path", ["../../words.txt", "/etc/passwd", "a/../../b", "gs://bucket/words", ""])
def test_an_asset_out_of_the_model_is_refused(path: str, tmp_path: Path) -> None:
    """Its path stays in the directory of assets."""

    def change(meta: Any) -> None:
        meta.asset_file_def.add(filename=path).tensor_info.name = "asset:0"

    source = edited(saved(tmp_path / "model", lambda x: x + 1), change)

    assert f"asset {path!r} leads out of the model" in refused(source)


def test_a_missing_asset_is_named(tmp_path: Path) -> None:
    """A vocabulary that was not copied is missed before the load."""
    table = table_of(str(words(tmp_path / "words.txt")))
    source = saved(tmp_path / "model", lambda x: tf.cast(table.lookup(x), tf.float32), "string", table=table)
    (source / "assets" / "words.txt").unlink()

    assert "assets/words.txt: missing" in refused(source)


def repeated_node(meta: Any) -> None:
    meta.graph_def.node.add().CopyFrom(meta.graph_def.node[0])


def repeated_function(meta: Any) -> None:
    meta.graph_def.library.function.add().CopyFrom(meta.graph_def.library.function[0])


def function_called_like_an_op(meta: Any) -> None:
    meta.graph_def.library.function[0].signature.name = "Relu"


def call_of_nothing(meta: Any) -> None:
    node = meta.graph_def.node.add(name="call", op="StatelessCase")
    node.attr["branches"].list.func.add().name = "nowhere"


def constant_handle(meta: Any) -> None:
    meta.graph_def.node.add(name="handle", op="Const").attr["dtype"].type = tf.resource.as_datatype_enum


TRICKS: dict[str, Callable[[Any], None]] = {
    "two nodes of one name": repeated_node,
    "the name of an op or of another function": repeated_function,
    "'Relu' has the name of an op": function_called_like_an_op,
    "calls function 'nowhere', which is not there": call_of_nothing,
    "a constant handle": constant_handle,
}


@pytest.mark.parametrize("said", TRICKS)
def test_a_graph_that_can_be_read_in_two_ways_is_refused(said: str, tmp_path: Path) -> None:
    """What was checked is what is loaded: nothing hides behind another's name."""
    assert said in refused(edited(saved(tmp_path / "model", lambda x: x + 1), TRICKS[said]))


@pytest.mark.parametrize("name", ["saved_model.pbtxt", "saved_model.cpb"])
def test_a_second_graph_is_refused(name: str, tmp_path: Path) -> None:
    """Nobody would have looked at it."""
    source = saved(tmp_path / "model", lambda x: x + 1)
    (source / name).write_bytes(b"")

    assert f"{name}: only saved_model.pb is read" in refused(source)


def test_a_symlink_is_refused(tmp_path: Path) -> None:
    """It may lead anywhere, today or tomorrow."""
    source = saved(tmp_path / "model", lambda x: x + 1)
    (source / "variables" / "variables.index").rename(tmp_path / "index")
    (source / "variables" / "variables.index").symlink_to(tmp_path / "index")

    assert "variables.index: a symlink" in refused(source)


def test_an_object_graph_that_contradicts_itself_is_a_plain_refusal(tmp_path: Path) -> None:
    """TensorFlow stumbles over it, wherever: the loader says so."""

    def change(meta: Any) -> None:
        meta.object_graph_def.nodes.add().asset.asset_file_def_index = 7
        meta.object_graph_def.nodes[0].children.add(node_id=len(meta.object_graph_def.nodes) - 1, local_name="stray")

    source = edited(saved(tmp_path / "model", lambda x: x + 1), change)

    with pytest.raises(BundleError, match="not a SavedModel that TensorFlow"):
        load_saved_model(source)


def test_packing_a_model_that_is_refused_is_an_error_of_packing(tmp_path: Path) -> None:
    """The same line, by the exit code of `pack`; nothing was written."""
    source = saved(tmp_path / "model", OPS["PyFunc"][0])

    with pytest.raises(PackError, match=r"op PyFunc .* runs Python code"):
        export(source, tmp_path / "out", signature="serving_default", fronts=Fronts())

    assert not (tmp_path / "out").exists()


def test_a_damaged_graph_is_a_plain_line(tmp_path: Path) -> None:
    """So is one that is empty or not there: no traceback of a parser."""
    source = saved(tmp_path / "model", lambda x: x + 1)
    path = source / "saved_model.pb"
    path.write_bytes(path.read_bytes()[:-7])
    assert "damaged" in refused(source)
    path.write_bytes(b"")
    assert "0 meta graphs" in refused(source)
    path.unlink()

    assert "is not a SavedModel" in refused(source)
