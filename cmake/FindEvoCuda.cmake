# The parts of the CUDA toolkit that evo's workers use, without CMake's CUDA language.
#
# EvoCuda_HOME            the toolkit's folder
# EvoCuda_NVRTC_FOUND     EvoCuda::nvrtc   for evo-compile
# EvoCuda_DEVICE_FOUND    EvoCuda::driver, EvoCuda::cupti   for evo-judge-cuda
# EvoCuda_CUDNN_INCLUDE   where cudnn.h is: the library itself is loaded at run time
# EvoCuda_CUBLAS_INCLUDE  where cublas_v2.h is: the same
#
# CUDA_HOME (variable or environment) is looked at first, then the usual places.
find_path(EvoCuda_HOME include/nvrtc.h
          HINTS ${CUDA_HOME} $ENV{CUDA_HOME} $ENV{CUDA_PATH}
          PATHS /usr/local/cuda /usr/local/cuda-13.0 /opt/cuda /usr/lib/cuda)
set(EvoCuda_NVRTC_FOUND FALSE)
set(EvoCuda_DEVICE_FOUND FALSE)
if(EvoCuda_HOME)
    set(_hints ${EvoCuda_HOME}/lib64 ${EvoCuda_HOME}/lib ${EvoCuda_HOME}/targets/x86_64-linux/lib
               ${EvoCuda_HOME}/extras/CUPTI/lib64)
    find_library(EvoCuda_NVRTC nvrtc HINTS ${_hints} NO_DEFAULT_PATH)
    find_library(EvoCuda_DRIVER cuda HINTS ${EvoCuda_HOME}/lib64/stubs
                 ${EvoCuda_HOME}/targets/x86_64-linux/lib/stubs NO_DEFAULT_PATH)
    find_library(EvoCuda_CUPTI cupti HINTS ${_hints} NO_DEFAULT_PATH)
    find_path(EvoCuda_CUPTI_INCLUDE cupti.h
              HINTS ${EvoCuda_HOME}/include ${EvoCuda_HOME}/extras/CUPTI/include NO_DEFAULT_PATH)
    find_path(EvoCuda_CUDNN_INCLUDE cudnn.h HINTS ${EvoCuda_HOME}/include)
    find_path(EvoCuda_CUBLAS_INCLUDE cublas_v2.h HINTS ${EvoCuda_HOME}/include)
    if(EvoCuda_NVRTC)
        set(EvoCuda_NVRTC_FOUND TRUE)
        get_filename_component(_rpath ${EvoCuda_NVRTC} DIRECTORY)
        add_library(EvoCuda::nvrtc INTERFACE IMPORTED)
        target_include_directories(EvoCuda::nvrtc SYSTEM INTERFACE ${EvoCuda_HOME}/include)
        target_link_libraries(EvoCuda::nvrtc INTERFACE ${EvoCuda_NVRTC} -Wl,-rpath,${_rpath})
    endif()
    if(EvoCuda_DRIVER AND EvoCuda_CUPTI AND EvoCuda_CUPTI_INCLUDE)
        set(EvoCuda_DEVICE_FOUND TRUE)
        get_filename_component(_rpath ${EvoCuda_CUPTI} DIRECTORY)
        add_library(EvoCuda::driver INTERFACE IMPORTED)
        target_include_directories(EvoCuda::driver SYSTEM INTERFACE ${EvoCuda_HOME}/include)
        target_link_libraries(EvoCuda::driver INTERFACE ${EvoCuda_DRIVER})
        add_library(EvoCuda::cupti INTERFACE IMPORTED)
        target_include_directories(EvoCuda::cupti SYSTEM INTERFACE ${EvoCuda_CUPTI_INCLUDE})
        target_link_libraries(EvoCuda::cupti INTERFACE ${EvoCuda_CUPTI} -Wl,-rpath,${_rpath})
    endif()
endif()
mark_as_advanced(EvoCuda_NVRTC EvoCuda_DRIVER EvoCuda_CUPTI EvoCuda_CUPTI_INCLUDE EvoCuda_CUDNN_INCLUDE
                 EvoCuda_CUBLAS_INCLUDE)
set(EvoCuda_FOUND ${EvoCuda_NVRTC_FOUND})
