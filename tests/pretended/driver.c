/* An NVIDIA driver, CUDA runtime and cuBLAS that are not there: they count memory and hand out addresses behind
 * which nothing lies, and kernels are launched into nowhere. Loaded ahead of the real ones, so that the operators
 * and the allocator that are compiled into torch run on a machine without a GPU, as far as they ask for memory.
 * The device has PRETENDED_BYTES. No header of CUDA's is needed: of its structures only a few fields are written,
 * at places that they have had since CUDA 11. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

enum { DONE = 0, OUT_OF_MEMORY = 2, NOT_SUPPORTED = 3, SEGMENTS = 4096 };
static const size_t PAGE = 2u << 20;
static size_t used, next_address = 0x7f0000000000;
static struct { size_t address, bytes; } segments[SEGMENTS];

static size_t device_bytes(void) { return strtoull(getenv("PRETENDED_BYTES"), NULL, 10); }

static int take(size_t bytes) {
    if (used + bytes > device_bytes()) return OUT_OF_MEMORY;
    used += bytes;
    return DONE;
}

static size_t addresses(size_t bytes) {
    size_t first = next_address;
    next_address += (bytes + PAGE - 1) / PAGE * PAGE;
    return first;
}

/* The runtime. */
int cudaMalloc(void **address, size_t bytes) {
    for (int i = 0; i < SEGMENTS; i++)
        if (!segments[i].bytes) {
            if (take(bytes)) return OUT_OF_MEMORY;
            segments[i].address = addresses(bytes);
            segments[i].bytes = bytes;
            *address = (void *)segments[i].address;
            return DONE;
        }
    return OUT_OF_MEMORY;
}
int cudaFree(void *address) {
    for (int i = 0; i < SEGMENTS; i++)
        if (segments[i].bytes && segments[i].address == (size_t)address) {
            used -= segments[i].bytes;
            segments[i].bytes = 0;
        }
    return DONE;
}
int cudaMemGetInfo(size_t *free, size_t *total) {
    *total = device_bytes();
    *free = *total - used;
    return DONE;
}
int cudaGetDeviceProperties(char *properties, int device) {
    *(size_t *)(properties + 288) = device_bytes();
    *(int *)(properties + 308) = 32;    /* threads of a warp */
    *(int *)(properties + 320) = 1024;  /* of a block at the most */
    *(int *)(properties + 360) = 9;     /* compute capability */
    *(int *)(properties + 384) = 132;   /* multiprocessors, since CUDA 13 */
    *(int *)(properties + 604) = 2048;  /* threads of one, likewise */
    return DONE;
}
int cudaGetDeviceCount(int *count) { return *count = 1, DONE; }
int cudaGetDevice(int *device) { return *device = 0, DONE; }
int cudaSetDevice(int device) { return DONE; }
int cudaGetLastError(void) { return DONE; }
int cudaDriverGetVersion(int *version) { return *version = 13000, DONE; }
int cudaDeviceGetAttribute(int *value, int attribute, int device) { return *value = 0, DONE; }
int cudaDeviceSynchronize(void) { return DONE; }
int cudaStreamSynchronize(void *stream) { return DONE; }
int cudaStreamIsCapturing(void *stream, int *status) { return *status = 0, DONE; }
int cudaStreamGetCaptureInfo(void *stream, int *status) { return *status = 0, DONE; }
int cudaDeviceGetStreamPriorityRange(int *least, int *greatest) { return *least = *greatest = 0, DONE; }
int cudaThreadExchangeStreamCaptureMode(int *mode) { return DONE; }

/* Kernels, copies and events of the runtime. */
typedef struct { unsigned x, y, z; } dim3;
int cudaLaunchKernel(void *kernel, dim3 grid, dim3 block, void **given, size_t shared, void *stream) { return DONE; }
int cudaLaunchKernelExC(void *config, void *kernel, void **given) { return DONE; }
int cudaMemcpyAsync(void *to, void *from, size_t bytes, int kind, void *stream) { return DONE; }
int cudaMemsetAsync(void *at, int value, size_t bytes, void *stream) { return DONE; }
int cudaFuncGetAttributes(int *attributes, void *kernel) {
    attributes[6] = 1024; /* threads of a block at the most, behind three sizes of 8 bytes */
    return DONE;
}
int cudaFuncSetAttribute(void *kernel, int attribute, int value) { return DONE; }
int cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *count, void *kernel, int block, size_t shared, int a) {
    return *count = 2, DONE;
}
int cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *count, void *kernel, int block, size_t shared) {
    return *count = 2, DONE;
}
int cudaEventCreateWithFlags(void **event, unsigned flags) { return *event = (void *)&used, DONE; }
int cudaEventRecord(void *event, void *stream) { return DONE; }
int cudaEventQuery(void *event) { return DONE; }
int cudaEventDestroy(void *event) { return DONE; }
int cudaStreamWaitEvent(void *stream, void *event, unsigned flags) { return DONE; }

/* cuBLAS. */
int cublasCreate_v2(void **handle) { return *handle = (void *)&used, DONE; }
int cublasSetStream_v2(void) { return DONE; }
int cublasSetWorkspace_v2(void) { return DONE; }
int cublasSetMathMode(void) { return DONE; }
int cublasGetMathMode(void *handle, int *mode) { return *mode = 0, DONE; }
int cublasSetPointerMode_v2(void) { return DONE; }
int cublasGetPointerMode_v2(void *handle, int *mode) { return *mode = 0, DONE; }
int cublasSgemm_v2(void) { return DONE; }
int cublasSgemmEx(void) { return DONE; }
int cublasSgemmStridedBatched(void) { return DONE; }
int cublasGemmEx(void) { return DONE; }
int cublasGemmStridedBatchedEx(void) { return DONE; }

/* The driver: pages of expandable segments. */
int cuMemAddressReserve(size_t *first, size_t bytes, size_t a, size_t b, unsigned long long c) {
    return *first = addresses(bytes), DONE;
}
int cuMemCreate(size_t *page, size_t bytes, void *properties, unsigned long long flags) {
    return *page = bytes, take(bytes);
}
int cuMemRelease(size_t page) { return used -= page, DONE; }
int cuCtxGetCurrent(void **context) { return *context = (void *)&used, DONE; }
int cuDeviceGet(int *device, int index) { return *device = index, DONE; }
int cuDeviceGetAttribute(int *value, int attribute, int device) { return *value = 0, DONE; }
int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) { return *flags = 0, *active = 1, DONE; }
static int nothing(void) { return DONE; }
int cudaGetDriverEntryPointByVersion(const char *name, void **place, unsigned a, unsigned long long b, int *found) {
    void *known = dlsym(RTLD_DEFAULT, name);
    *place = known ? known : (void *)nothing;
    if (found) *found = 0;
    return DONE;
}

/* Its management library: no link to another device. */
int nvmlInit_v2(void) { return DONE; }
int nvmlDeviceGetHandleByPciBusId_v2(const char *place, void **device) { return *device = NULL, DONE; }
int nvmlDeviceGetNvLinkRemoteDeviceType(void) { return NOT_SUPPORTED; }
int nvmlDeviceGetNvLinkRemotePciInfo_v2(void) { return NOT_SUPPORTED; }
int nvmlDeviceGetComputeRunningProcesses(void *device, unsigned *count, void *infos) { return *count = 0, DONE; }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { return *version = 13000, DONE; }
int nvmlDeviceGetGpuFabricInfoV(void) { return NOT_SUPPORTED; }
