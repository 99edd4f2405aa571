# The Debian package: what is installed where, and what dpkg is told. ops/package builds it; tests/package/run tests it.
include(GNUInstallDirs)

# The manual and completion, as the binary prints them.
set(manual ${PROJECT_BINARY_DIR}/manual)
file(MAKE_DIRECTORY ${manual})
set(manual_files)
foreach(page freshet.1 freshet.yaml.5)
  add_custom_command(OUTPUT ${manual}/${page}.gz DEPENDS freshet VERBATIM
    COMMAND $<TARGET_FILE:freshet> manual ${page} > ${manual}/${page}
    COMMAND gzip -9nf ${manual}/${page})
  list(APPEND manual_files ${manual}/${page}.gz)
endforeach()
foreach(shell bash zsh fish)
  add_custom_command(OUTPUT ${manual}/completion.${shell} DEPENDS freshet VERBATIM
    COMMAND $<TARGET_FILE:freshet> manual ${shell} > ${manual}/completion.${shell})
  list(APPEND manual_files ${manual}/completion.${shell})
endforeach()
add_custom_command(OUTPUT ${manual}/changelog.gz DEPENDS ${CMAKE_CURRENT_LIST_DIR}/changelog VERBATIM
  COMMAND gzip -9nc ${CMAKE_CURRENT_LIST_DIR}/changelog > ${manual}/changelog.gz)
add_custom_target(manual DEPENDS ${manual_files} ${manual}/changelog.gz)

install(TARGETS freshet RUNTIME DESTINATION usr/bin)
install(FILES ${CMAKE_CURRENT_LIST_DIR}/freshet.yaml DESTINATION etc/freshet)
install(FILES ${CMAKE_CURRENT_LIST_DIR}/freshet.service DESTINATION lib/systemd/system)
install(FILES ${manual}/freshet.1.gz DESTINATION usr/share/man/man1)
install(FILES ${manual}/freshet.yaml.5.gz DESTINATION usr/share/man/man5)
install(FILES ${manual}/completion.bash DESTINATION usr/share/bash-completion/completions RENAME freshet)
install(FILES ${manual}/completion.zsh DESTINATION usr/share/zsh/vendor-completions RENAME _freshet)
install(FILES ${manual}/completion.fish DESTINATION usr/share/fish/vendor_completions.d RENAME freshet.fish)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/proto/freshet DESTINATION usr/share/freshet/proto FILES_MATCHING PATTERN "*.proto")
install(DIRECTORY ${PROJECT_SOURCE_DIR}/docs/ DESTINATION usr/share/doc/freshet FILES_MATCHING PATTERN "*.md")
install(DIRECTORY ${PROJECT_SOURCE_DIR}/examples DESTINATION usr/share/doc/freshet)
install(FILES ${PROJECT_SOURCE_DIR}/cli/demo.yaml DESTINATION usr/share/doc/freshet/examples)
install(FILES ${manual}/changelog.gz ${CMAKE_CURRENT_LIST_DIR}/copyright DESTINATION usr/share/doc/freshet)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME freshet)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT "The maintainers of Freshet <maintainers@freshet.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "keeps the features of a live recommender fresh")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "Reads what people do on a livestream or in a shop from Kafka, keeps
counters and interest sequences of users, items, creators, rooms and
categories over RocksDB, and answers rankers over gRPC and HTTP within
milliseconds.")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION database)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "adduser, init-system-helpers (>= 1.54)")
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${CMAKE_CURRENT_LIST_DIR}/conffiles ${CMAKE_CURRENT_LIST_DIR}/postinst
  ${CMAKE_CURRENT_LIST_DIR}/prerm ${CMAKE_CURRENT_LIST_DIR}/postrm)
set(CPACK_STRIP_FILES ON)
set(CPACK_SET_DESTDIR OFF)
set(CPACK_PACKAGING_INSTALL_PREFIX /)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
include(CPack)
