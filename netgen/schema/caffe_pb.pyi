"""The messages as a type checker sees them: made by `python netgen/schema/compile.py`."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from google.protobuf.internal.containers import (
    RepeatedCompositeFieldContainer,
    RepeatedScalarFieldContainer,
)
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import Message

DESCRIPTOR_SET: Path

Phase: EnumTypeWrapper
TRAIN: int
TEST: int

class BlobShape(Message):
    @property
    def dim(self) -> RepeatedScalarFieldContainer[int]: ...
    def __init__(
        self,
        *,
        dim: Iterable[int] | None = ...,
    ) -> None: ...

class BlobProto(Message):
    num: int
    channels: int
    height: int
    width: int
    @property
    def data(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def diff(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def shape(self) -> BlobShape: ...
    @property
    def double_data(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def double_diff(self) -> RepeatedScalarFieldContainer[float]: ...
    def __init__(
        self,
        *,
        num: int | None = ...,
        channels: int | None = ...,
        height: int | None = ...,
        width: int | None = ...,
        data: Iterable[float] | None = ...,
        diff: Iterable[float] | None = ...,
        shape: BlobShape | Mapping[str, Any] | None = ...,
        double_data: Iterable[float] | None = ...,
        double_diff: Iterable[float] | None = ...,
    ) -> None: ...

class BlobProtoVector(Message):
    @property
    def blobs(self) -> RepeatedCompositeFieldContainer[BlobProto]: ...
    def __init__(
        self,
        *,
        blobs: Iterable[BlobProto | Mapping[str, Any]] | None = ...,
    ) -> None: ...

class Datum(Message):
    channels: int
    height: int
    width: int
    data: bytes
    label: int
    @property
    def float_data(self) -> RepeatedScalarFieldContainer[float]: ...
    encoded: bool
    def __init__(
        self,
        *,
        channels: int | None = ...,
        height: int | None = ...,
        width: int | None = ...,
        data: bytes | None = ...,
        label: int | None = ...,
        float_data: Iterable[float] | None = ...,
        encoded: bool | None = ...,
    ) -> None: ...

class NetParameter(Message):
    name: str
    @property
    def layers(self) -> RepeatedCompositeFieldContainer[V1LayerParameter]: ...
    @property
    def input(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def input_dim(self) -> RepeatedScalarFieldContainer[int]: ...
    force_backward: bool
    @property
    def state(self) -> NetState: ...
    debug_info: bool
    @property
    def input_shape(self) -> RepeatedCompositeFieldContainer[BlobShape]: ...
    @property
    def layer(self) -> RepeatedCompositeFieldContainer[LayerParameter]: ...
    def __init__(
        self,
        *,
        name: str | None = ...,
        layers: Iterable[V1LayerParameter | Mapping[str, Any]] | None = ...,
        input: Iterable[str] | None = ...,
        input_dim: Iterable[int] | None = ...,
        force_backward: bool | None = ...,
        state: NetState | Mapping[str, Any] | None = ...,
        debug_info: bool | None = ...,
        input_shape: Iterable[BlobShape | Mapping[str, Any]] | None = ...,
        layer: Iterable[LayerParameter | Mapping[str, Any]] | None = ...,
    ) -> None: ...

class NetState(Message):
    phase: int
    level: int
    @property
    def stage(self) -> RepeatedScalarFieldContainer[str]: ...
    def __init__(
        self,
        *,
        phase: int | str | None = ...,
        level: int | None = ...,
        stage: Iterable[str] | None = ...,
    ) -> None: ...

class NetStateRule(Message):
    phase: int
    min_level: int
    max_level: int
    @property
    def stage(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def not_stage(self) -> RepeatedScalarFieldContainer[str]: ...
    def __init__(
        self,
        *,
        phase: int | str | None = ...,
        min_level: int | None = ...,
        max_level: int | None = ...,
        stage: Iterable[str] | None = ...,
        not_stage: Iterable[str] | None = ...,
    ) -> None: ...

class LayerParameter(Message):
    name: str
    type: str
    @property
    def bottom(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def top(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def loss_weight(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def param(self) -> RepeatedCompositeFieldContainer[ParamSpec]: ...
    @property
    def blobs(self) -> RepeatedCompositeFieldContainer[BlobProto]: ...
    @property
    def include(self) -> RepeatedCompositeFieldContainer[NetStateRule]: ...
    @property
    def exclude(self) -> RepeatedCompositeFieldContainer[NetStateRule]: ...
    phase: int
    @property
    def propagate_down(self) -> RepeatedScalarFieldContainer[bool]: ...
    @property
    def transform_param(self) -> TransformationParameter: ...
    @property
    def loss_param(self) -> LossParameter: ...
    @property
    def accuracy_param(self) -> AccuracyParameter: ...
    @property
    def argmax_param(self) -> ArgMaxParameter: ...
    @property
    def concat_param(self) -> ConcatParameter: ...
    @property
    def contrastive_loss_param(self) -> ContrastiveLossParameter: ...
    @property
    def convolution_param(self) -> ConvolutionParameter: ...
    @property
    def data_param(self) -> DataParameter: ...
    @property
    def dropout_param(self) -> DropoutParameter: ...
    @property
    def dummy_data_param(self) -> DummyDataParameter: ...
    @property
    def eltwise_param(self) -> EltwiseParameter: ...
    @property
    def exp_param(self) -> ExpParameter: ...
    @property
    def hdf5_data_param(self) -> HDF5DataParameter: ...
    @property
    def hdf5_output_param(self) -> HDF5OutputParameter: ...
    @property
    def hinge_loss_param(self) -> HingeLossParameter: ...
    @property
    def image_data_param(self) -> ImageDataParameter: ...
    @property
    def infogain_loss_param(self) -> InfogainLossParameter: ...
    @property
    def inner_product_param(self) -> InnerProductParameter: ...
    @property
    def lrn_param(self) -> LRNParameter: ...
    @property
    def memory_data_param(self) -> MemoryDataParameter: ...
    @property
    def mvn_param(self) -> MVNParameter: ...
    @property
    def pooling_param(self) -> PoolingParameter: ...
    @property
    def power_param(self) -> PowerParameter: ...
    @property
    def relu_param(self) -> ReLUParameter: ...
    @property
    def sigmoid_param(self) -> SigmoidParameter: ...
    @property
    def softmax_param(self) -> SoftmaxParameter: ...
    @property
    def slice_param(self) -> SliceParameter: ...
    @property
    def tanh_param(self) -> TanHParameter: ...
    @property
    def threshold_param(self) -> ThresholdParameter: ...
    @property
    def window_data_param(self) -> WindowDataParameter: ...
    @property
    def python_param(self) -> PythonParameter: ...
    @property
    def prelu_param(self) -> PReLUParameter: ...
    @property
    def spp_param(self) -> SPPParameter: ...
    @property
    def reshape_param(self) -> ReshapeParameter: ...
    @property
    def log_param(self) -> LogParameter: ...
    @property
    def flatten_param(self) -> FlattenParameter: ...
    @property
    def reduction_param(self) -> ReductionParameter: ...
    @property
    def embed_param(self) -> EmbedParameter: ...
    @property
    def tile_param(self) -> TileParameter: ...
    @property
    def batch_norm_param(self) -> BatchNormParameter: ...
    @property
    def elu_param(self) -> ELUParameter: ...
    @property
    def bias_param(self) -> BiasParameter: ...
    @property
    def scale_param(self) -> ScaleParameter: ...
    @property
    def input_param(self) -> InputParameter: ...
    @property
    def crop_param(self) -> CropParameter: ...
    @property
    def parameter_param(self) -> ParameterParameter: ...
    @property
    def recurrent_param(self) -> RecurrentParameter: ...
    @property
    def swish_param(self) -> SwishParameter: ...
    @property
    def clip_param(self) -> ClipParameter: ...
    def __init__(
        self,
        *,
        name: str | None = ...,
        type: str | None = ...,
        bottom: Iterable[str] | None = ...,
        top: Iterable[str] | None = ...,
        loss_weight: Iterable[float] | None = ...,
        param: Iterable[ParamSpec | Mapping[str, Any]] | None = ...,
        blobs: Iterable[BlobProto | Mapping[str, Any]] | None = ...,
        include: Iterable[NetStateRule | Mapping[str, Any]] | None = ...,
        exclude: Iterable[NetStateRule | Mapping[str, Any]] | None = ...,
        phase: int | str | None = ...,
        propagate_down: Iterable[bool] | None = ...,
        transform_param: TransformationParameter | Mapping[str, Any] | None = ...,
        loss_param: LossParameter | Mapping[str, Any] | None = ...,
        accuracy_param: AccuracyParameter | Mapping[str, Any] | None = ...,
        argmax_param: ArgMaxParameter | Mapping[str, Any] | None = ...,
        concat_param: ConcatParameter | Mapping[str, Any] | None = ...,
        contrastive_loss_param: ContrastiveLossParameter | Mapping[str, Any] | None = ...,
        convolution_param: ConvolutionParameter | Mapping[str, Any] | None = ...,
        data_param: DataParameter | Mapping[str, Any] | None = ...,
        dropout_param: DropoutParameter | Mapping[str, Any] | None = ...,
        dummy_data_param: DummyDataParameter | Mapping[str, Any] | None = ...,
        eltwise_param: EltwiseParameter | Mapping[str, Any] | None = ...,
        exp_param: ExpParameter | Mapping[str, Any] | None = ...,
        hdf5_data_param: HDF5DataParameter | Mapping[str, Any] | None = ...,
        hdf5_output_param: HDF5OutputParameter | Mapping[str, Any] | None = ...,
        hinge_loss_param: HingeLossParameter | Mapping[str, Any] | None = ...,
        image_data_param: ImageDataParameter | Mapping[str, Any] | None = ...,
        infogain_loss_param: InfogainLossParameter | Mapping[str, Any] | None = ...,
        inner_product_param: InnerProductParameter | Mapping[str, Any] | None = ...,
        lrn_param: LRNParameter | Mapping[str, Any] | None = ...,
        memory_data_param: MemoryDataParameter | Mapping[str, Any] | None = ...,
        mvn_param: MVNParameter | Mapping[str, Any] | None = ...,
        pooling_param: PoolingParameter | Mapping[str, Any] | None = ...,
        power_param: PowerParameter | Mapping[str, Any] | None = ...,
        relu_param: ReLUParameter | Mapping[str, Any] | None = ...,
        sigmoid_param: SigmoidParameter | Mapping[str, Any] | None = ...,
        softmax_param: SoftmaxParameter | Mapping[str, Any] | None = ...,
        slice_param: SliceParameter | Mapping[str, Any] | None = ...,
        tanh_param: TanHParameter | Mapping[str, Any] | None = ...,
        threshold_param: ThresholdParameter | Mapping[str, Any] | None = ...,
        window_data_param: WindowDataParameter | Mapping[str, Any] | None = ...,
        python_param: PythonParameter | Mapping[str, Any] | None = ...,
        prelu_param: PReLUParameter | Mapping[str, Any] | None = ...,
        spp_param: SPPParameter | Mapping[str, Any] | None = ...,
        reshape_param: ReshapeParameter | Mapping[str, Any] | None = ...,
        log_param: LogParameter | Mapping[str, Any] | None = ...,
        flatten_param: FlattenParameter | Mapping[str, Any] | None = ...,
        reduction_param: ReductionParameter | Mapping[str, Any] | None = ...,
        embed_param: EmbedParameter | Mapping[str, Any] | None = ...,
        tile_param: TileParameter | Mapping[str, Any] | None = ...,
        batch_norm_param: BatchNormParameter | Mapping[str, Any] | None = ...,
        elu_param: ELUParameter | Mapping[str, Any] | None = ...,
        bias_param: BiasParameter | Mapping[str, Any] | None = ...,
        scale_param: ScaleParameter | Mapping[str, Any] | None = ...,
        input_param: InputParameter | Mapping[str, Any] | None = ...,
        crop_param: CropParameter | Mapping[str, Any] | None = ...,
        parameter_param: ParameterParameter | Mapping[str, Any] | None = ...,
        recurrent_param: RecurrentParameter | Mapping[str, Any] | None = ...,
        swish_param: SwishParameter | Mapping[str, Any] | None = ...,
        clip_param: ClipParameter | Mapping[str, Any] | None = ...,
    ) -> None: ...

class ParamSpec(Message):
    DimCheckMode: ClassVar[EnumTypeWrapper]
    STRICT: ClassVar[int]
    PERMISSIVE: ClassVar[int]
    name: str
    share_mode: int
    lr_mult: float
    decay_mult: float
    def __init__(
        self,
        *,
        name: str | None = ...,
        share_mode: int | str | None = ...,
        lr_mult: float | None = ...,
        decay_mult: float | None = ...,
    ) -> None: ...

class FillerParameter(Message):
    VarianceNorm: ClassVar[EnumTypeWrapper]
    FAN_IN: ClassVar[int]
    FAN_OUT: ClassVar[int]
    AVERAGE: ClassVar[int]
    type: str
    value: float
    min: float
    max: float
    mean: float
    std: float
    sparse: int
    variance_norm: int
    def __init__(
        self,
        *,
        type: str | None = ...,
        value: float | None = ...,
        min: float | None = ...,
        max: float | None = ...,
        mean: float | None = ...,
        std: float | None = ...,
        sparse: int | None = ...,
        variance_norm: int | str | None = ...,
    ) -> None: ...

class TransformationParameter(Message):
    scale: float
    mirror: bool
    crop_size: int
    mean_file: str
    @property
    def mean_value(self) -> RepeatedScalarFieldContainer[float]: ...
    force_color: bool
    force_gray: bool
    def __init__(
        self,
        *,
        scale: float | None = ...,
        mirror: bool | None = ...,
        crop_size: int | None = ...,
        mean_file: str | None = ...,
        mean_value: Iterable[float] | None = ...,
        force_color: bool | None = ...,
        force_gray: bool | None = ...,
    ) -> None: ...

class LossParameter(Message):
    NormalizationMode: ClassVar[EnumTypeWrapper]
    FULL: ClassVar[int]
    VALID: ClassVar[int]
    BATCH_SIZE: ClassVar[int]
    NONE: ClassVar[int]
    ignore_label: int
    normalize: bool
    normalization: int
    def __init__(
        self,
        *,
        ignore_label: int | None = ...,
        normalize: bool | None = ...,
        normalization: int | str | None = ...,
    ) -> None: ...

class AccuracyParameter(Message):
    top_k: int
    axis: int
    ignore_label: int
    def __init__(
        self,
        *,
        top_k: int | None = ...,
        axis: int | None = ...,
        ignore_label: int | None = ...,
    ) -> None: ...

class ArgMaxParameter(Message):
    out_max_val: bool
    top_k: int
    axis: int
    def __init__(
        self,
        *,
        out_max_val: bool | None = ...,
        top_k: int | None = ...,
        axis: int | None = ...,
    ) -> None: ...

class BatchNormParameter(Message):
    use_global_stats: bool
    moving_average_fraction: float
    eps: float
    def __init__(
        self,
        *,
        use_global_stats: bool | None = ...,
        moving_average_fraction: float | None = ...,
        eps: float | None = ...,
    ) -> None: ...

class BiasParameter(Message):
    axis: int
    num_axes: int
    @property
    def filler(self) -> FillerParameter: ...
    def __init__(
        self,
        *,
        axis: int | None = ...,
        num_axes: int | None = ...,
        filler: FillerParameter | Mapping[str, Any] | None = ...,
    ) -> None: ...

class ClipParameter(Message):
    min: float
    max: float
    def __init__(
        self,
        *,
        min: float | None = ...,
        max: float | None = ...,
    ) -> None: ...

class ConcatParameter(Message):
    concat_dim: int
    axis: int
    def __init__(
        self,
        *,
        concat_dim: int | None = ...,
        axis: int | None = ...,
    ) -> None: ...

class ContrastiveLossParameter(Message):
    margin: float
    legacy_version: bool
    def __init__(
        self,
        *,
        margin: float | None = ...,
        legacy_version: bool | None = ...,
    ) -> None: ...

class ConvolutionParameter(Message):
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    num_output: int
    bias_term: bool
    @property
    def pad(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def kernel_size(self) -> RepeatedScalarFieldContainer[int]: ...
    group: int
    @property
    def stride(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def weight_filler(self) -> FillerParameter: ...
    @property
    def bias_filler(self) -> FillerParameter: ...
    pad_h: int
    pad_w: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    engine: int
    axis: int
    force_nd_im2col: bool
    @property
    def dilation(self) -> RepeatedScalarFieldContainer[int]: ...
    def __init__(
        self,
        *,
        num_output: int | None = ...,
        bias_term: bool | None = ...,
        pad: Iterable[int] | None = ...,
        kernel_size: Iterable[int] | None = ...,
        group: int | None = ...,
        stride: Iterable[int] | None = ...,
        weight_filler: FillerParameter | Mapping[str, Any] | None = ...,
        bias_filler: FillerParameter | Mapping[str, Any] | None = ...,
        pad_h: int | None = ...,
        pad_w: int | None = ...,
        kernel_h: int | None = ...,
        kernel_w: int | None = ...,
        stride_h: int | None = ...,
        stride_w: int | None = ...,
        engine: int | str | None = ...,
        axis: int | None = ...,
        force_nd_im2col: bool | None = ...,
        dilation: Iterable[int] | None = ...,
    ) -> None: ...

class CropParameter(Message):
    axis: int
    @property
    def offset(self) -> RepeatedScalarFieldContainer[int]: ...
    def __init__(
        self,
        *,
        axis: int | None = ...,
        offset: Iterable[int] | None = ...,
    ) -> None: ...

class DataParameter(Message):
    DB: ClassVar[EnumTypeWrapper]
    LEVELDB: ClassVar[int]
    LMDB: ClassVar[int]
    source: str
    scale: float
    mean_file: str
    batch_size: int
    crop_size: int
    mirror: bool
    rand_skip: int
    backend: int
    force_encoded_color: bool
    prefetch: int
    def __init__(
        self,
        *,
        source: str | None = ...,
        scale: float | None = ...,
        mean_file: str | None = ...,
        batch_size: int | None = ...,
        crop_size: int | None = ...,
        mirror: bool | None = ...,
        rand_skip: int | None = ...,
        backend: int | str | None = ...,
        force_encoded_color: bool | None = ...,
        prefetch: int | None = ...,
    ) -> None: ...

class DropoutParameter(Message):
    dropout_ratio: float
    def __init__(
        self,
        *,
        dropout_ratio: float | None = ...,
    ) -> None: ...

class DummyDataParameter(Message):
    @property
    def data_filler(self) -> RepeatedCompositeFieldContainer[FillerParameter]: ...
    @property
    def num(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def channels(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def height(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def width(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def shape(self) -> RepeatedCompositeFieldContainer[BlobShape]: ...
    def __init__(
        self,
        *,
        data_filler: Iterable[FillerParameter | Mapping[str, Any]] | None = ...,
        num: Iterable[int] | None = ...,
        channels: Iterable[int] | None = ...,
        height: Iterable[int] | None = ...,
        width: Iterable[int] | None = ...,
        shape: Iterable[BlobShape | Mapping[str, Any]] | None = ...,
    ) -> None: ...

class EltwiseParameter(Message):
    EltwiseOp: ClassVar[EnumTypeWrapper]
    PROD: ClassVar[int]
    SUM: ClassVar[int]
    MAX: ClassVar[int]
    operation: int
    @property
    def coeff(self) -> RepeatedScalarFieldContainer[float]: ...
    stable_prod_grad: bool
    def __init__(
        self,
        *,
        operation: int | str | None = ...,
        coeff: Iterable[float] | None = ...,
        stable_prod_grad: bool | None = ...,
    ) -> None: ...

class ELUParameter(Message):
    alpha: float
    def __init__(
        self,
        *,
        alpha: float | None = ...,
    ) -> None: ...

class EmbedParameter(Message):
    num_output: int
    input_dim: int
    bias_term: bool
    @property
    def weight_filler(self) -> FillerParameter: ...
    @property
    def bias_filler(self) -> FillerParameter: ...
    def __init__(
        self,
        *,
        num_output: int | None = ...,
        input_dim: int | None = ...,
        bias_term: bool | None = ...,
        weight_filler: FillerParameter | Mapping[str, Any] | None = ...,
        bias_filler: FillerParameter | Mapping[str, Any] | None = ...,
    ) -> None: ...

class ExpParameter(Message):
    base: float
    scale: float
    shift: float
    def __init__(
        self,
        *,
        base: float | None = ...,
        scale: float | None = ...,
        shift: float | None = ...,
    ) -> None: ...

class FlattenParameter(Message):
    axis: int
    end_axis: int
    def __init__(
        self,
        *,
        axis: int | None = ...,
        end_axis: int | None = ...,
    ) -> None: ...

class HDF5DataParameter(Message):
    source: str
    batch_size: int
    shuffle: bool
    def __init__(
        self,
        *,
        source: str | None = ...,
        batch_size: int | None = ...,
        shuffle: bool | None = ...,
    ) -> None: ...

class HDF5OutputParameter(Message):
    file_name: str
    def __init__(
        self,
        *,
        file_name: str | None = ...,
    ) -> None: ...

class HingeLossParameter(Message):
    Norm: ClassVar[EnumTypeWrapper]
    L1: ClassVar[int]
    L2: ClassVar[int]
    norm: int
    def __init__(
        self,
        *,
        norm: int | str | None = ...,
    ) -> None: ...

class ImageDataParameter(Message):
    source: str
    scale: float
    mean_file: str
    batch_size: int
    crop_size: int
    mirror: bool
    rand_skip: int
    shuffle: bool
    new_height: int
    new_width: int
    is_color: bool
    root_folder: str
    def __init__(
        self,
        *,
        source: str | None = ...,
        scale: float | None = ...,
        mean_file: str | None = ...,
        batch_size: int | None = ...,
        crop_size: int | None = ...,
        mirror: bool | None = ...,
        rand_skip: int | None = ...,
        shuffle: bool | None = ...,
        new_height: int | None = ...,
        new_width: int | None = ...,
        is_color: bool | None = ...,
        root_folder: str | None = ...,
    ) -> None: ...

class InfogainLossParameter(Message):
    source: str
    axis: int
    def __init__(
        self,
        *,
        source: str | None = ...,
        axis: int | None = ...,
    ) -> None: ...

class InnerProductParameter(Message):
    num_output: int
    bias_term: bool
    @property
    def weight_filler(self) -> FillerParameter: ...
    @property
    def bias_filler(self) -> FillerParameter: ...
    axis: int
    transpose: bool
    def __init__(
        self,
        *,
        num_output: int | None = ...,
        bias_term: bool | None = ...,
        weight_filler: FillerParameter | Mapping[str, Any] | None = ...,
        bias_filler: FillerParameter | Mapping[str, Any] | None = ...,
        axis: int | None = ...,
        transpose: bool | None = ...,
    ) -> None: ...

class InputParameter(Message):
    @property
    def shape(self) -> RepeatedCompositeFieldContainer[BlobShape]: ...
    def __init__(
        self,
        *,
        shape: Iterable[BlobShape | Mapping[str, Any]] | None = ...,
    ) -> None: ...

class LogParameter(Message):
    base: float
    scale: float
    shift: float
    def __init__(
        self,
        *,
        base: float | None = ...,
        scale: float | None = ...,
        shift: float | None = ...,
    ) -> None: ...

class LRNParameter(Message):
    NormRegion: ClassVar[EnumTypeWrapper]
    ACROSS_CHANNELS: ClassVar[int]
    WITHIN_CHANNEL: ClassVar[int]
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    local_size: int
    alpha: float
    beta: float
    norm_region: int
    k: float
    engine: int
    def __init__(
        self,
        *,
        local_size: int | None = ...,
        alpha: float | None = ...,
        beta: float | None = ...,
        norm_region: int | str | None = ...,
        k: float | None = ...,
        engine: int | str | None = ...,
    ) -> None: ...

class MemoryDataParameter(Message):
    batch_size: int
    channels: int
    height: int
    width: int
    def __init__(
        self,
        *,
        batch_size: int | None = ...,
        channels: int | None = ...,
        height: int | None = ...,
        width: int | None = ...,
    ) -> None: ...

class MVNParameter(Message):
    normalize_variance: bool
    across_channels: bool
    eps: float
    def __init__(
        self,
        *,
        normalize_variance: bool | None = ...,
        across_channels: bool | None = ...,
        eps: float | None = ...,
    ) -> None: ...

class ParameterParameter(Message):
    @property
    def shape(self) -> BlobShape: ...
    def __init__(
        self,
        *,
        shape: BlobShape | Mapping[str, Any] | None = ...,
    ) -> None: ...

class PoolingParameter(Message):
    PoolMethod: ClassVar[EnumTypeWrapper]
    MAX: ClassVar[int]
    AVE: ClassVar[int]
    STOCHASTIC: ClassVar[int]
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    RoundMode: ClassVar[EnumTypeWrapper]
    CEIL: ClassVar[int]
    FLOOR: ClassVar[int]
    pool: int
    kernel_size: int
    stride: int
    pad: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    pad_h: int
    pad_w: int
    engine: int
    global_pooling: bool
    round_mode: int
    def __init__(
        self,
        *,
        pool: int | str | None = ...,
        kernel_size: int | None = ...,
        stride: int | None = ...,
        pad: int | None = ...,
        kernel_h: int | None = ...,
        kernel_w: int | None = ...,
        stride_h: int | None = ...,
        stride_w: int | None = ...,
        pad_h: int | None = ...,
        pad_w: int | None = ...,
        engine: int | str | None = ...,
        global_pooling: bool | None = ...,
        round_mode: int | str | None = ...,
    ) -> None: ...

class PowerParameter(Message):
    power: float
    scale: float
    shift: float
    def __init__(
        self,
        *,
        power: float | None = ...,
        scale: float | None = ...,
        shift: float | None = ...,
    ) -> None: ...

class PReLUParameter(Message):
    @property
    def filler(self) -> FillerParameter: ...
    channel_shared: bool
    def __init__(
        self,
        *,
        filler: FillerParameter | Mapping[str, Any] | None = ...,
        channel_shared: bool | None = ...,
    ) -> None: ...

class PythonParameter(Message):
    module: str
    layer: str
    param_str: str
    share_in_parallel: bool
    def __init__(
        self,
        *,
        module: str | None = ...,
        layer: str | None = ...,
        param_str: str | None = ...,
        share_in_parallel: bool | None = ...,
    ) -> None: ...

class RecurrentParameter(Message):
    num_output: int
    @property
    def weight_filler(self) -> FillerParameter: ...
    @property
    def bias_filler(self) -> FillerParameter: ...
    debug_info: bool
    expose_hidden: bool
    def __init__(
        self,
        *,
        num_output: int | None = ...,
        weight_filler: FillerParameter | Mapping[str, Any] | None = ...,
        bias_filler: FillerParameter | Mapping[str, Any] | None = ...,
        debug_info: bool | None = ...,
        expose_hidden: bool | None = ...,
    ) -> None: ...

class ReductionParameter(Message):
    ReductionOp: ClassVar[EnumTypeWrapper]
    SUM: ClassVar[int]
    ASUM: ClassVar[int]
    SUMSQ: ClassVar[int]
    MEAN: ClassVar[int]
    operation: int
    axis: int
    coeff: float
    def __init__(
        self,
        *,
        operation: int | str | None = ...,
        axis: int | None = ...,
        coeff: float | None = ...,
    ) -> None: ...

class ReLUParameter(Message):
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    negative_slope: float
    engine: int
    def __init__(
        self,
        *,
        negative_slope: float | None = ...,
        engine: int | str | None = ...,
    ) -> None: ...

class ReshapeParameter(Message):
    @property
    def shape(self) -> BlobShape: ...
    axis: int
    num_axes: int
    def __init__(
        self,
        *,
        shape: BlobShape | Mapping[str, Any] | None = ...,
        axis: int | None = ...,
        num_axes: int | None = ...,
    ) -> None: ...

class ScaleParameter(Message):
    axis: int
    num_axes: int
    @property
    def filler(self) -> FillerParameter: ...
    bias_term: bool
    @property
    def bias_filler(self) -> FillerParameter: ...
    def __init__(
        self,
        *,
        axis: int | None = ...,
        num_axes: int | None = ...,
        filler: FillerParameter | Mapping[str, Any] | None = ...,
        bias_term: bool | None = ...,
        bias_filler: FillerParameter | Mapping[str, Any] | None = ...,
    ) -> None: ...

class SigmoidParameter(Message):
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    engine: int
    def __init__(
        self,
        *,
        engine: int | str | None = ...,
    ) -> None: ...

class SliceParameter(Message):
    slice_dim: int
    @property
    def slice_point(self) -> RepeatedScalarFieldContainer[int]: ...
    axis: int
    def __init__(
        self,
        *,
        slice_dim: int | None = ...,
        slice_point: Iterable[int] | None = ...,
        axis: int | None = ...,
    ) -> None: ...

class SoftmaxParameter(Message):
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    engine: int
    axis: int
    def __init__(
        self,
        *,
        engine: int | str | None = ...,
        axis: int | None = ...,
    ) -> None: ...

class SPPParameter(Message):
    PoolMethod: ClassVar[EnumTypeWrapper]
    MAX: ClassVar[int]
    AVE: ClassVar[int]
    STOCHASTIC: ClassVar[int]
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    pyramid_height: int
    pool: int
    engine: int
    def __init__(
        self,
        *,
        pyramid_height: int | None = ...,
        pool: int | str | None = ...,
        engine: int | str | None = ...,
    ) -> None: ...

class SwishParameter(Message):
    beta: float
    def __init__(
        self,
        *,
        beta: float | None = ...,
    ) -> None: ...

class TanHParameter(Message):
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    engine: int
    def __init__(
        self,
        *,
        engine: int | str | None = ...,
    ) -> None: ...

class ThresholdParameter(Message):
    threshold: float
    def __init__(
        self,
        *,
        threshold: float | None = ...,
    ) -> None: ...

class TileParameter(Message):
    axis: int
    tiles: int
    def __init__(
        self,
        *,
        axis: int | None = ...,
        tiles: int | None = ...,
    ) -> None: ...

class WindowDataParameter(Message):
    source: str
    scale: float
    mean_file: str
    batch_size: int
    crop_size: int
    mirror: bool
    fg_threshold: float
    bg_threshold: float
    fg_fraction: float
    context_pad: int
    crop_mode: str
    cache_images: bool
    root_folder: str
    def __init__(
        self,
        *,
        source: str | None = ...,
        scale: float | None = ...,
        mean_file: str | None = ...,
        batch_size: int | None = ...,
        crop_size: int | None = ...,
        mirror: bool | None = ...,
        fg_threshold: float | None = ...,
        bg_threshold: float | None = ...,
        fg_fraction: float | None = ...,
        context_pad: int | None = ...,
        crop_mode: str | None = ...,
        cache_images: bool | None = ...,
        root_folder: str | None = ...,
    ) -> None: ...

class SolverParameter(Message):
    SnapshotFormat: ClassVar[EnumTypeWrapper]
    HDF5: ClassVar[int]
    BINARYPROTO: ClassVar[int]
    SolverMode: ClassVar[EnumTypeWrapper]
    CPU: ClassVar[int]
    GPU: ClassVar[int]
    SolverType: ClassVar[EnumTypeWrapper]
    SGD: ClassVar[int]
    NESTEROV: ClassVar[int]
    ADAGRAD: ClassVar[int]
    RMSPROP: ClassVar[int]
    ADADELTA: ClassVar[int]
    ADAM: ClassVar[int]
    train_net: str
    @property
    def test_net(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def test_iter(self) -> RepeatedScalarFieldContainer[int]: ...
    test_interval: int
    base_lr: float
    display: int
    max_iter: int
    lr_policy: str
    gamma: float
    power: float
    momentum: float
    weight_decay: float
    stepsize: int
    snapshot: int
    snapshot_prefix: str
    snapshot_diff: bool
    solver_mode: int
    device_id: int
    test_compute_loss: bool
    random_seed: int
    @property
    def train_net_param(self) -> NetParameter: ...
    @property
    def test_net_param(self) -> RepeatedCompositeFieldContainer[NetParameter]: ...
    debug_info: bool
    net: str
    @property
    def net_param(self) -> NetParameter: ...
    @property
    def train_state(self) -> NetState: ...
    @property
    def test_state(self) -> RepeatedCompositeFieldContainer[NetState]: ...
    snapshot_after_train: bool
    regularization_type: str
    solver_type: int
    delta: float
    test_initialization: bool
    average_loss: int
    @property
    def stepvalue(self) -> RepeatedScalarFieldContainer[int]: ...
    clip_gradients: float
    iter_size: int
    snapshot_format: int
    rms_decay: float
    momentum2: float
    type: str
    layer_wise_reduce: bool
    @property
    def weights(self) -> RepeatedScalarFieldContainer[str]: ...
    def __init__(
        self,
        *,
        train_net: str | None = ...,
        test_net: Iterable[str] | None = ...,
        test_iter: Iterable[int] | None = ...,
        test_interval: int | None = ...,
        base_lr: float | None = ...,
        display: int | None = ...,
        max_iter: int | None = ...,
        lr_policy: str | None = ...,
        gamma: float | None = ...,
        power: float | None = ...,
        momentum: float | None = ...,
        weight_decay: float | None = ...,
        stepsize: int | None = ...,
        snapshot: int | None = ...,
        snapshot_prefix: str | None = ...,
        snapshot_diff: bool | None = ...,
        solver_mode: int | str | None = ...,
        device_id: int | None = ...,
        test_compute_loss: bool | None = ...,
        random_seed: int | None = ...,
        train_net_param: NetParameter | Mapping[str, Any] | None = ...,
        test_net_param: Iterable[NetParameter | Mapping[str, Any]] | None = ...,
        debug_info: bool | None = ...,
        net: str | None = ...,
        net_param: NetParameter | Mapping[str, Any] | None = ...,
        train_state: NetState | Mapping[str, Any] | None = ...,
        test_state: Iterable[NetState | Mapping[str, Any]] | None = ...,
        snapshot_after_train: bool | None = ...,
        regularization_type: str | None = ...,
        solver_type: int | str | None = ...,
        delta: float | None = ...,
        test_initialization: bool | None = ...,
        average_loss: int | None = ...,
        stepvalue: Iterable[int] | None = ...,
        clip_gradients: float | None = ...,
        iter_size: int | None = ...,
        snapshot_format: int | str | None = ...,
        rms_decay: float | None = ...,
        momentum2: float | None = ...,
        type: str | None = ...,
        layer_wise_reduce: bool | None = ...,
        weights: Iterable[str] | None = ...,
    ) -> None: ...

class SolverState(Message):
    iter: int
    learned_net: str
    @property
    def history(self) -> RepeatedCompositeFieldContainer[BlobProto]: ...
    current_step: int
    def __init__(
        self,
        *,
        iter: int | None = ...,
        learned_net: str | None = ...,
        history: Iterable[BlobProto | Mapping[str, Any]] | None = ...,
        current_step: int | None = ...,
    ) -> None: ...

class V1LayerParameter(Message):
    LayerType: ClassVar[EnumTypeWrapper]
    NONE: ClassVar[int]
    ACCURACY: ClassVar[int]
    BNLL: ClassVar[int]
    CONCAT: ClassVar[int]
    CONVOLUTION: ClassVar[int]
    DATA: ClassVar[int]
    DROPOUT: ClassVar[int]
    EUCLIDEAN_LOSS: ClassVar[int]
    FLATTEN: ClassVar[int]
    HDF5_DATA: ClassVar[int]
    HDF5_OUTPUT: ClassVar[int]
    IM2COL: ClassVar[int]
    IMAGE_DATA: ClassVar[int]
    INFOGAIN_LOSS: ClassVar[int]
    INNER_PRODUCT: ClassVar[int]
    LRN: ClassVar[int]
    MULTINOMIAL_LOGISTIC_LOSS: ClassVar[int]
    POOLING: ClassVar[int]
    RELU: ClassVar[int]
    SIGMOID: ClassVar[int]
    SOFTMAX: ClassVar[int]
    SOFTMAX_LOSS: ClassVar[int]
    SPLIT: ClassVar[int]
    TANH: ClassVar[int]
    WINDOW_DATA: ClassVar[int]
    ELTWISE: ClassVar[int]
    POWER: ClassVar[int]
    SIGMOID_CROSS_ENTROPY_LOSS: ClassVar[int]
    HINGE_LOSS: ClassVar[int]
    MEMORY_DATA: ClassVar[int]
    ARGMAX: ClassVar[int]
    THRESHOLD: ClassVar[int]
    DUMMY_DATA: ClassVar[int]
    SLICE: ClassVar[int]
    MVN: ClassVar[int]
    ABSVAL: ClassVar[int]
    SILENCE: ClassVar[int]
    CONTRASTIVE_LOSS: ClassVar[int]
    EXP: ClassVar[int]
    DECONVOLUTION: ClassVar[int]
    DimCheckMode: ClassVar[EnumTypeWrapper]
    STRICT: ClassVar[int]
    PERMISSIVE: ClassVar[int]
    @property
    def layer(self) -> V0LayerParameter: ...
    @property
    def bottom(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def top(self) -> RepeatedScalarFieldContainer[str]: ...
    name: str
    type: int
    @property
    def blobs(self) -> RepeatedCompositeFieldContainer[BlobProto]: ...
    @property
    def blobs_lr(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def weight_decay(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def concat_param(self) -> ConcatParameter: ...
    @property
    def convolution_param(self) -> ConvolutionParameter: ...
    @property
    def data_param(self) -> DataParameter: ...
    @property
    def dropout_param(self) -> DropoutParameter: ...
    @property
    def hdf5_data_param(self) -> HDF5DataParameter: ...
    @property
    def hdf5_output_param(self) -> HDF5OutputParameter: ...
    @property
    def image_data_param(self) -> ImageDataParameter: ...
    @property
    def infogain_loss_param(self) -> InfogainLossParameter: ...
    @property
    def inner_product_param(self) -> InnerProductParameter: ...
    @property
    def lrn_param(self) -> LRNParameter: ...
    @property
    def pooling_param(self) -> PoolingParameter: ...
    @property
    def window_data_param(self) -> WindowDataParameter: ...
    @property
    def power_param(self) -> PowerParameter: ...
    @property
    def memory_data_param(self) -> MemoryDataParameter: ...
    @property
    def argmax_param(self) -> ArgMaxParameter: ...
    @property
    def eltwise_param(self) -> EltwiseParameter: ...
    @property
    def threshold_param(self) -> ThresholdParameter: ...
    @property
    def dummy_data_param(self) -> DummyDataParameter: ...
    @property
    def accuracy_param(self) -> AccuracyParameter: ...
    @property
    def hinge_loss_param(self) -> HingeLossParameter: ...
    @property
    def relu_param(self) -> ReLUParameter: ...
    @property
    def slice_param(self) -> SliceParameter: ...
    @property
    def include(self) -> RepeatedCompositeFieldContainer[NetStateRule]: ...
    @property
    def exclude(self) -> RepeatedCompositeFieldContainer[NetStateRule]: ...
    @property
    def mvn_param(self) -> MVNParameter: ...
    @property
    def loss_weight(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def transform_param(self) -> TransformationParameter: ...
    @property
    def tanh_param(self) -> TanHParameter: ...
    @property
    def sigmoid_param(self) -> SigmoidParameter: ...
    @property
    def softmax_param(self) -> SoftmaxParameter: ...
    @property
    def contrastive_loss_param(self) -> ContrastiveLossParameter: ...
    @property
    def exp_param(self) -> ExpParameter: ...
    @property
    def loss_param(self) -> LossParameter: ...
    @property
    def param(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def blob_share_mode(self) -> RepeatedScalarFieldContainer[int]: ...
    def __init__(
        self,
        *,
        layer: V0LayerParameter | Mapping[str, Any] | None = ...,
        bottom: Iterable[str] | None = ...,
        top: Iterable[str] | None = ...,
        name: str | None = ...,
        type: int | str | None = ...,
        blobs: Iterable[BlobProto | Mapping[str, Any]] | None = ...,
        blobs_lr: Iterable[float] | None = ...,
        weight_decay: Iterable[float] | None = ...,
        concat_param: ConcatParameter | Mapping[str, Any] | None = ...,
        convolution_param: ConvolutionParameter | Mapping[str, Any] | None = ...,
        data_param: DataParameter | Mapping[str, Any] | None = ...,
        dropout_param: DropoutParameter | Mapping[str, Any] | None = ...,
        hdf5_data_param: HDF5DataParameter | Mapping[str, Any] | None = ...,
        hdf5_output_param: HDF5OutputParameter | Mapping[str, Any] | None = ...,
        image_data_param: ImageDataParameter | Mapping[str, Any] | None = ...,
        infogain_loss_param: InfogainLossParameter | Mapping[str, Any] | None = ...,
        inner_product_param: InnerProductParameter | Mapping[str, Any] | None = ...,
        lrn_param: LRNParameter | Mapping[str, Any] | None = ...,
        pooling_param: PoolingParameter | Mapping[str, Any] | None = ...,
        window_data_param: WindowDataParameter | Mapping[str, Any] | None = ...,
        power_param: PowerParameter | Mapping[str, Any] | None = ...,
        memory_data_param: MemoryDataParameter | Mapping[str, Any] | None = ...,
        argmax_param: ArgMaxParameter | Mapping[str, Any] | None = ...,
        eltwise_param: EltwiseParameter | Mapping[str, Any] | None = ...,
        threshold_param: ThresholdParameter | Mapping[str, Any] | None = ...,
        dummy_data_param: DummyDataParameter | Mapping[str, Any] | None = ...,
        accuracy_param: AccuracyParameter | Mapping[str, Any] | None = ...,
        hinge_loss_param: HingeLossParameter | Mapping[str, Any] | None = ...,
        relu_param: ReLUParameter | Mapping[str, Any] | None = ...,
        slice_param: SliceParameter | Mapping[str, Any] | None = ...,
        include: Iterable[NetStateRule | Mapping[str, Any]] | None = ...,
        exclude: Iterable[NetStateRule | Mapping[str, Any]] | None = ...,
        mvn_param: MVNParameter | Mapping[str, Any] | None = ...,
        loss_weight: Iterable[float] | None = ...,
        transform_param: TransformationParameter | Mapping[str, Any] | None = ...,
        tanh_param: TanHParameter | Mapping[str, Any] | None = ...,
        sigmoid_param: SigmoidParameter | Mapping[str, Any] | None = ...,
        softmax_param: SoftmaxParameter | Mapping[str, Any] | None = ...,
        contrastive_loss_param: ContrastiveLossParameter | Mapping[str, Any] | None = ...,
        exp_param: ExpParameter | Mapping[str, Any] | None = ...,
        loss_param: LossParameter | Mapping[str, Any] | None = ...,
        param: Iterable[str] | None = ...,
        blob_share_mode: Iterable[int | str] | None = ...,
    ) -> None: ...

class V0LayerParameter(Message):
    PoolMethod: ClassVar[EnumTypeWrapper]
    MAX: ClassVar[int]
    AVE: ClassVar[int]
    STOCHASTIC: ClassVar[int]
    name: str
    type: str
    num_output: int
    biasterm: bool
    @property
    def weight_filler(self) -> FillerParameter: ...
    @property
    def bias_filler(self) -> FillerParameter: ...
    pad: int
    kernelsize: int
    group: int
    stride: int
    pool: int
    dropout_ratio: float
    local_size: int
    alpha: float
    beta: float
    source: str
    scale: float
    meanfile: str
    batchsize: int
    cropsize: int
    mirror: bool
    k: float
    @property
    def blobs(self) -> RepeatedCompositeFieldContainer[BlobProto]: ...
    @property
    def blobs_lr(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def weight_decay(self) -> RepeatedScalarFieldContainer[float]: ...
    rand_skip: int
    det_fg_threshold: float
    det_bg_threshold: float
    det_fg_fraction: float
    det_context_pad: int
    det_crop_mode: str
    new_num: int
    new_channels: int
    new_height: int
    new_width: int
    shuffle_images: bool
    concat_dim: int
    @property
    def hdf5_output_param(self) -> HDF5OutputParameter: ...
    def __init__(
        self,
        *,
        name: str | None = ...,
        type: str | None = ...,
        num_output: int | None = ...,
        biasterm: bool | None = ...,
        weight_filler: FillerParameter | Mapping[str, Any] | None = ...,
        bias_filler: FillerParameter | Mapping[str, Any] | None = ...,
        pad: int | None = ...,
        kernelsize: int | None = ...,
        group: int | None = ...,
        stride: int | None = ...,
        pool: int | str | None = ...,
        dropout_ratio: float | None = ...,
        local_size: int | None = ...,
        alpha: float | None = ...,
        beta: float | None = ...,
        source: str | None = ...,
        scale: float | None = ...,
        meanfile: str | None = ...,
        batchsize: int | None = ...,
        cropsize: int | None = ...,
        mirror: bool | None = ...,
        k: float | None = ...,
        blobs: Iterable[BlobProto | Mapping[str, Any]] | None = ...,
        blobs_lr: Iterable[float] | None = ...,
        weight_decay: Iterable[float] | None = ...,
        rand_skip: int | None = ...,
        det_fg_threshold: float | None = ...,
        det_bg_threshold: float | None = ...,
        det_fg_fraction: float | None = ...,
        det_context_pad: int | None = ...,
        det_crop_mode: str | None = ...,
        new_num: int | None = ...,
        new_channels: int | None = ...,
        new_height: int | None = ...,
        new_width: int | None = ...,
        shuffle_images: bool | None = ...,
        concat_dim: int | None = ...,
        hdf5_output_param: HDF5OutputParameter | Mapping[str, Any] | None = ...,
    ) -> None: ...
