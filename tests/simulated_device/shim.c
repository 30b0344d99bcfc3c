/* Answers for torch's questions about CUDA, so that its autograd engine accepts tensors of a device that is not there.
   Loaded before torch (LD_PRELOAD), under the name of the driver's library (libcuda.so.1), which torch opens by name. */

static signed char count = 0;

/* c10::cuda::hasPrimaryContext, device_count, device_count_ensure_non_zero */
_Bool _ZN3c104cuda17hasPrimaryContextEa(signed char device) { return 0; }
signed char _ZN3c104cuda12device_countEv(void) { return count; }
signed char _ZN3c104cuda28device_count_ensure_non_zeroEv(void) { return 1; }

void simulated_devices(int number) { count = number; }

/* The driver: there to be found, of no use (999: unknown error). */
#define ABSENT(name) int name() { return 999; }
int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) { *flags = 0; *active = 0; return 0; }
ABSENT(cuCtxGetCurrent) ABSENT(cuCtxSetCurrent) ABSENT(cuDeviceGet) ABSENT(cuDeviceGetAttribute)
ABSENT(cuDevicePrimaryCtxRetain) ABSENT(cuFuncGetAttribute) ABSENT(cuFuncSetAttribute) ABSENT(cuFuncSetCacheConfig)
ABSENT(cuGetErrorString) ABSENT(cuLaunchCooperativeKernel) ABSENT(cuLaunchKernel) ABSENT(cuLinkAddData_v2)
ABSENT(cuLinkComplete) ABSENT(cuLinkCreate_v2) ABSENT(cuModuleGetFunction) ABSENT(cuModuleLoad)
ABSENT(cuModuleLoadData) ABSENT(cuModuleLoadDataEx) ABSENT(cuModuleUnload)
ABSENT(cuOccupancyMaxActiveBlocksPerMultiprocessor) ABSENT(cuPointerGetAttribute) ABSENT(cuTensorMapEncodeTiled)
