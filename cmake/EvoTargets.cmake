# What every target of this project has in common.

# evo_options(TARGET): language, warnings, sanitizers, include folders.
function(evo_options target)
    set_target_properties(${target} PROPERTIES C_STANDARD 11 C_STANDARD_REQUIRED ON C_EXTENSIONS OFF
                          RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
    target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/engine
                               ${SODIUM_INCLUDE})
    target_compile_definitions(${target} PRIVATE _POSIX_C_SOURCE=200809L _DEFAULT_SOURCE)
    target_compile_options(${target} PRIVATE -Wall -Wextra -Wshadow -Wstrict-prototypes
                           -Wmissing-prototypes -Wpointer-arith -Wvla -fno-common
                           $<$<C_COMPILER_ID:GNU>:-Wno-format-truncation> # texts are cut on purpose
                           -UNDEBUG) # a bug is an assert, in a release too
    if(EVO_SANITIZE)
        target_compile_options(${target} PRIVATE -fsanitize=${EVO_SANITIZE} -fno-omit-frame-pointer
                               -fno-sanitize-recover=all)
        target_link_options(${target} PRIVATE -fsanitize=${EVO_SANITIZE})
    endif()
    if(EVO_FAULTS)
        target_compile_definitions(${target} PRIVATE EVO_FAULTS)
    endif()
endfunction()

# evo_library(NAME DIR folder SOURCES a b LINK x y): a static library of folder/a.c, folder/b.c.
function(evo_library name)
    cmake_parse_arguments(arg "" "DIR" "SOURCES;LINK" ${ARGN})
    list(TRANSFORM arg_SOURCES REPLACE "(.+)" "${CMAKE_SOURCE_DIR}/${arg_DIR}/\\1.c")
    add_library(${name} STATIC ${arg_SOURCES})
    evo_options(${name})
    target_link_libraries(${name} PUBLIC ${arg_LINK})
endfunction()

# evo_find_static(VAR name header package): the static library if there is one (a binary that runs
# on machines without the package), else the shared one; names the package to install when missing.
function(evo_find_static var name header package)
    find_library(${var}_LIBRARY NAMES lib${name}.a ${name})
    find_path(${var}_INCLUDE ${header})
    if(NOT ${var}_LIBRARY OR NOT ${var}_INCLUDE)
        message(FATAL_ERROR "${name} was not found: install the package ${package}")
    endif()
    mark_as_advanced(${var}_LIBRARY ${var}_INCLUDE)
endfunction()

# evo_embed(target name file): generated/NAME.h holds the file's text as `static const char NAME[]`.
function(evo_embed target name file)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${file})
    file(READ ${CMAKE_SOURCE_DIR}/${file} bytes HEX)
    string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
    file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/generated/generated/${name}.h
         CONTENT "static const char ${name}[] = {${bytes}0};\n" @ONLY)
    target_include_directories(${target} PRIVATE ${CMAKE_BINARY_DIR}/generated)
endfunction()

# evo_audit(TARGET): the judge's own kernels are compiled and become a part of it, where nvcc is.
function(evo_audit target)
    find_program(NVCC nvcc HINTS ${EvoCuda_HOME}/bin)
    set(image ${CMAKE_BINARY_DIR}/generated/audit.fatbin)
    set(source ${CMAKE_SOURCE_DIR}/fitness/audit.cu)
    if(NOT NVCC)
        message(STATUS "no nvcc: outputs of large shapes will be judged by sampled rows alone")
        return()
    endif()
    file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/generated)
    add_custom_command(OUTPUT ${image} COMMAND ${NVCC} -std=c++17 -O3 -fatbin -o ${image}
                               -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=sm_90
                               -gencode arch=compute_80,code=compute_80 ${source}
                       DEPENDS ${source} VERBATIM)
    target_sources(${target} PRIVATE ${image})
    set_source_files_properties(${CMAKE_SOURCE_DIR}/fitness/audit_cuda.c PROPERTIES
                                OBJECT_DEPENDS ${image} COMPILE_DEFINITIONS EVO_AUDIT_IMAGE="${image}")
endfunction()
